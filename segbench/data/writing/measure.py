"""Measure the truth of training images, for the statistics in `dataset.json`."""

from __future__ import annotations

import math
from array import array
from collections.abc import Sequence
from typing import Any

import numpy as np

from segbench.contract.statistics import ClassStatistics, DatasetStatistics, Spread
from segbench.contract.view import Category

DIRECTIONS = math.pi / 4
"""Length of a border by the number of pixel sides on it, averaged over its directions (Cauchy-Crofton)."""


def measure_map(semantic: np.ndarray, classes: int, overlapping: bool) -> tuple[list[int], list[int]]:
    """Count the pixels of each class in a semantic map, and the pixel sides on its border.

    A border with void pixels counts. The border of the image does not.

    Args:
        semantic: H x W int32 map, see `Sample.semantic`.
        classes: number of categories.
        overlapping: whether a pixel may have several classes.

    Returns:
        Pixels and sides by category id, 0 = background, which has none if classes overlap.
    """
    if overlapping:
        layers = [(semantic >= 0) & ((semantic >> k) & 1 == 1) for k in range(classes)]
        found = [_counted(layer.astype(np.uint8), 2) for layer in layers]
        return [0, *(int(p[1]) for p, _ in found)], [0, *(int(s[1]) for _, s in found)]
    # small integers compare faster; void becomes the last value
    compact = np.where(semantic < 0, classes + 1, semantic).astype(np.uint8 if classes < 255 else np.uint16)
    pixels, sides = _counted(compact, classes + 2)
    return pixels[:-1].tolist(), sides[:-1].tolist()


def _counted(ids: np.ndarray, values: int) -> tuple[np.ndarray, np.ndarray]:
    pixels = np.bincount(ids.ravel(order="K"), minlength=values)
    sides = np.zeros(values, np.int64)
    for first, second in ((ids[1:], ids[:-1]), (ids[:, 1:], ids[:, :-1])):
        differ = first != second
        for side in (first, second):
            sides += np.bincount(side[differ], minlength=values)
    return pixels, sides


class TruthStatistics:
    """Gather the measures of all training images. The result does not depend on their order.

    Args:
        categories: the classes of the dataset.
        background: whether semantic maps have the value 0.
        overlapping: whether a pixel may have several classes.
    """

    def __init__(self, categories: Sequence[Category], background: bool, overlapping: bool) -> None:
        self._categories, self._background, self._overlapping = categories, background, overlapping
        size = len(categories) + 1
        self._pixels, self._sides = np.zeros(size, np.int64), np.zeros(size, np.int64)
        self._present, self._objects = np.zeros(size, np.int64), np.zeros(size, np.int64)
        self._labelled = 0
        # one number for each image or object: there may be millions
        self._short, self._long, self._aspect, self._count = (array("d") for _ in range(4))
        self._sizes, self._boxes, self._relative_sizes, self._relative_boxes = (array("d") for _ in range(4))

    def add(
        self, height: int, width: int, truth: dict[str, Any] | None, objects: Sequence[dict[str, Any]]
    ) -> None:
        """Add an image.

        Args:
            height, width: its size.
            truth: `pixels` and `sides` as from `measure_map`, and `labelled`, the number of pixels that are
                not void; None without a semantic map.
            objects: its COCO annotations.
        """
        short, long = sorted((height, width))
        self._short.append(short)
        self._long.append(long)
        self._aspect.append(width / height)
        present = np.zeros_like(self._present, bool)
        if truth is not None:
            self._labelled += truth["labelled"]
            self._pixels += np.array(truth["pixels"])
            self._sides += np.array(truth["sides"])
            present |= np.array(truth["pixels"]) > 0
        objects = [o for o in objects if not o["iscrowd"]]
        self._count.append(len(objects))
        for found in objects:
            present[found["category_id"]] = True
            self._objects[found["category_id"]] += 1
            box_width, box_height = found["bbox"][2:]
            area = found.get("area") or box_width * box_height
            self._sizes.append(math.sqrt(area))
            self._boxes.append(max(box_width, box_height))
            self._relative_sizes.append(math.sqrt(area / (height * width)))
            self._relative_boxes.append(max(box_width, box_height) / long)
        self._present += present

    def result(self) -> DatasetStatistics:
        """Return the statistics. There must be an image."""
        sizes = self._short, self._long, self._aspect, self._count
        short, long, aspect, count = (Spread.of(values) for values in sizes)
        assert short and long and aspect and count
        ids = range(0 if self._background else 1, len(self._categories) + 1)
        return DatasetStatistics(
            images=len(self._short),
            short_side=short,
            long_side=long,
            aspect=aspect,
            objects_per_image=count,
            object_size=Spread.of(self._sizes),
            object_side=Spread.of(self._boxes),
            object_size_relative=Spread.of(self._relative_sizes),
            object_side_relative=Spread.of(self._relative_boxes),
            classes=[self._class(k) for k in ids],
        )

    def _class(self, k: int) -> ClassStatistics:
        pixels, sides = int(self._pixels[k]), int(self._sides[k])
        return ClassStatistics(
            id=k,
            pixels=round(pixels / self._labelled, 6) if self._labelled else None,
            images=round(int(self._present[k]) / len(self._short), 6),
            width=round(2 * pixels / (DIRECTIONS * sides), 4) if sides else None,
            objects=int(self._objects[k]),
        )
