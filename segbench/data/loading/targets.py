"""Truth for training: integer layers, which transforms can change, and the `Target` that is made of them.

A layer is an H x W int32 map where 0 is void, padding or no object:
    semantic view   one layer: index of the class + 1; if classes overlap, sum of 2 ** index + 1
    panoptic view   one layer: number of the segment (from 1)
    instance view   a layer that is 1 where the truth is known, then layers of object numbers; objects that
                    overlap are in different layers, so 375 cells need one or two
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Protocol

import numpy as np
import torch
from pycocotools import mask as coco
from torch import Tensor

from segbench.contract.prediction import IGNORE, Target
from segbench.contract.view import Task, View
from segbench.data.coco.index import AnnotationIndex
from segbench.data.coco.masks import RLE, to_rle
from segbench.data.dataset import ImageRecord, Split, rgb_to_id
from segbench.data.images import open_image
from segbench.errors import SegbenchError

Layers = tuple[np.ndarray, np.ndarray]
"""K x H x W int32 layers, and the class index of each number (N int64; empty in the semantic view)."""


class LayerReader(Protocol):
    """Reads the layers of one image."""

    def __call__(self, record: ImageRecord) -> Layers: ...


def layer_reader(split: Split, view: View) -> LayerReader:
    """Return the reader of a split for the task of a view."""
    readers: dict[Task, Any] = {
        "semantic": SemanticReader,
        "instance": InstanceReader,
        "panoptic": PanopticReader,
    }
    return readers[view.task](split, view)


class SemanticReader:
    """Reads semantic maps. SegbenchError for a label that is not in the class list."""

    def __init__(self, split: Split, view: View) -> None:
        self._split = split
        if view.overlapping:  # category ids count from 1, and indices from 0: bits stay as they are
            self._numbers = np.arange(2 ** len(view.classes) + 1, dtype=np.int32)
            return
        self._numbers = np.zeros(max(view.index_of) + 2, np.int32)  # by category id + 1, as void is -1
        for category, index in view.index_of.items():
            self._numbers[category + 1] = index + 1

    def __call__(self, record: ImageRecord) -> Layers:
        ids = self._split.read_semantic(record.stem)
        if ids.max() >= len(self._numbers) - 1:
            raise SegbenchError(
                f"label {ids.max()} is outside the class list",
                where=self._split.semantic_path(record.stem),
                remedy="convert the dataset again, or fix its labels",
            )
        return self._numbers[ids + 1][None], np.zeros(0, np.int64)


class InstanceReader:
    """Reads the objects of `instances.json`, without crowds, and void from semantic maps."""

    def __init__(self, split: Split, view: View) -> None:
        self._split, self._index_of = split, view.index_of
        self._annotations = AnnotationIndex(split.instances_json)

    def __call__(self, record: ImageRecord) -> Layers:
        known = self._split.read_semantic(record.stem) >= 0
        objects = [one for one in self._annotations[record.id] if not one["iscrowd"]]
        masks = (to_rle(one["segmentation"], *known.shape) for one in objects)
        layers = np.stack([known.astype(np.int32), *stack_objects(masks, known.shape)])
        return layers, np.array([self._index_of[one["category_id"]] for one in objects], np.int64)


class PanopticReader:
    """Reads panoptic maps, without crowds. Segments of one stuff class become one."""

    def __init__(self, split: Split, view: View) -> None:
        self._split = split
        self._index_of = view.index_of
        self._annotations = AnnotationIndex(split.panoptic_json)
        self._things = frozenset(view.thing_indices)

    def __call__(self, record: ImageRecord) -> Layers:
        ids = rgb_to_id(
            np.asarray(open_image(self._split.panoptic_folder / f"{record.stem}.png").convert("RGB"))
        )
        number_of: dict[tuple[int, int], int] = {}  # one segment per thing, one per stuff class
        known, numbers = [0], [0]
        for segment, label in sorted(self._segments(record)):
            key = (label, segment if label in self._things else 0)
            known.append(segment)
            numbers.append(number_of.setdefault(key, len(number_of) + 1))
        place = np.searchsorted(known, ids).clip(max=len(known) - 1)
        listed = np.asarray(known)[place] == ids  # false for crowds
        layer = np.where(listed, np.asarray(numbers, np.int32)[place], 0)
        return layer[None], np.array([label for label, _ in number_of], np.int64)

    def _segments(self, record: ImageRecord) -> list[tuple[int, int]]:
        """Return id and class index of the segments of an image, without crowds."""
        return [
            (segment["id"], self._index_of[segment["category_id"]])
            for annotation in self._annotations[record.id]
            for segment in annotation["segments_info"]
            if not segment["iscrowd"]
        ]


def stack_objects(masks: Iterable[RLE], size: tuple[int, ...]) -> list[np.ndarray]:
    """Number objects from 1 and distribute them over layers so that none overlap (first fit).

    Args:
        masks: run lengths.
        size: height and width.

    Returns:
        H x W int32 layers, at least one.
    """
    layers = [np.zeros(size, np.int32)]
    for number, mask in enumerate(masks, 1):
        x, y, width, height = coco.toBbox(mask).astype(int)
        box = np.s_[y : y + height, x : x + width]
        pixels = coco.decode(mask)[box].astype(bool)
        layer = next((one for one in layers if not one[box][pixels].any()), None)
        if layer is None:
            layers.append(layer := np.zeros(size, np.int32))
        layer[box][pixels] = number
    return layers


def build_target(task: Task, layers: Tensor, labels: Tensor, image_id: int) -> Target:
    """Build the `Target` of an image. Objects without pixels, for instance after a crop, are dropped.

    Args:
        task: task of the view.
        layers: K x H x W integer layers, see the module.
        labels: N int64, class index of each number in the layers.
        image_id: id of the image in its split.
    """
    target: Target = {"image_id": image_id, "valid": layers[0] > 0}
    if task == "semantic":
        target["semantic"] = torch.where(target["valid"], layers[0] - 1, IGNORE).long()
        return target
    numbers, masks = _objects(layers if task == "panoptic" else layers[1:])
    target.update(labels=labels[numbers - 1], masks=masks)
    if task == "instance":
        target["boxes"] = mask_bounds(masks)
    return target


def _objects(layers: Tensor) -> tuple[Tensor, Tensor]:
    """Return the numbers that occur (N), and the mask of each (N x H x W bool)."""
    numbers = [torch.bincount(layer.flatten(), minlength=1)[1:].nonzero()[:, 0] + 1 for layer in layers]
    masks = [layer == one[:, None, None] for layer, one in zip(layers, numbers)]
    return torch.cat(numbers), torch.cat(masks)


def mask_bounds(masks: Tensor) -> Tensor:
    """Return the boxes (N x 4 float32: x0, y0, x1, y1) of N x H x W masks that are not empty.

    The box of a single pixel has width and height 1.
    """
    ends = []
    for dim in (1, 2):  # over rows: extent along x; over columns: extent along y
        hit = masks.any(dim).to(torch.uint8)
        ends.append((hit.argmax(1), hit.shape[1] - hit.flip(1).argmax(1)))
    (x0, x1), (y0, y1) = ends
    return torch.stack([x0, y0, x1, y1], 1).float()
