"""Conversions of a prediction for one task into one for another, so that unlike networks meet in one table.

Maps hold category ids, 0 where nothing is. Objects are `Found`, segments are `Segments`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from pycocotools import mask as rle

from segbench.data.coco.masks import areas, objects_of_map
from segbench.evaluation.instance.ap import Found
from segbench.evaluation.panoptic.quality import Side

_EIGHT = np.ones((3, 3), bool)


@dataclass
class Segments:
    """A panoptic map: `index` H x W holds 0 = nothing and k + 1 = the k-th segment."""

    index: np.ndarray
    class_ids: np.ndarray
    scores: np.ndarray

    def objects(self) -> dict[int, dict[str, Any]]:
        """COCO annotations of the segments that have pixels, by position."""
        areas = np.bincount(self.index.ravel(), minlength=len(self.class_ids) + 1)[1:]
        present = np.flatnonzero(areas).tolist()
        found = objects_of_map(self.index, {k + 1: int(self.class_ids[k]) for k in present})
        return dict(zip(present, found))

    def side(self, image_id: int) -> Side:
        """The segments as masks, for `panoptic.add_image`."""
        return Side([o | {"id": k + 1, "image_id": image_id} for k, o in self.objects().items()])


def semantic_from_panoptic(segments: Segments) -> np.ndarray:
    """Class map of the segments, 0 where there is none."""
    return np.concatenate([[0], segments.class_ids])[segments.index]


def instances_from_panoptic(segments: Segments, things: Sequence[int]) -> Found:
    """The segments of things as objects."""
    found = segments.objects()
    kept = [k for k, o in found.items() if o["category_id"] in things]
    masks = [found[k]["segmentation"] for k in kept]
    boxes = rle.toBbox(masks) if masks else np.zeros((0, 4))
    crowd = np.zeros(len(kept), bool)
    return Found(segments.class_ids[kept], masks, boxes, areas(masks), segments.scores[kept], crowd)


def panoptic_from_semantic(labels: np.ndarray, things: Sequence[int]) -> Segments:
    """8-connected components of things, and one segment for each other class of the map.

    The score of a segment is the share of the image that it covers.
    """
    from scipy import ndimage  # half of the step's start-up, and few cells need it

    index = np.zeros(labels.shape, np.int32)
    class_ids: list[int] = []
    for c in np.unique(labels[labels > 0]):
        mask = labels == c
        if c in things:
            parts, number = ndimage.label(mask, _EIGHT)
            index[mask] = parts[mask] + len(class_ids)
        else:
            number = 1
            index[mask] = len(class_ids) + 1
        class_ids += [int(c)] * number
    areas = np.bincount(index.ravel(), minlength=len(class_ids) + 1)[1:]
    return Segments(index, np.array(class_ids, int), areas / labels.size)


def panoptic_from_instances(found: Found, shape: tuple[int, int], min_score: float) -> Segments:
    """Objects as segments; where they overlap the better score is on top."""
    index = np.zeros(shape, np.int32)
    sure = np.flatnonzero(found.scores >= min_score)
    for k in sure[np.argsort(found.scores[sure], kind="stable")]:
        index[rle.decode(found.masks[k]).astype(bool)] = k + 1
    return Segments(index, found.class_ids, found.scores)
