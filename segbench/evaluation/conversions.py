"""Conversions of a prediction for one task to another task, so that all networks appear in one table.

Class maps hold category ids, and 0 where there is no class.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from pycocotools import mask as rle

from segbench.contract.view import Task
from segbench.data.coco.masks import areas
from segbench.evaluation.annotations import Objects, SegmentMap

CONVERSIONS: dict[tuple[Task, Task], str] = {
    ("semantic", "panoptic"): "each segment painted with its class",
    ("semantic", "instance"): "objects painted by ascending score, from min_score on",
    ("detection", "panoptic"): "boxes of segments of things, with their scores",
    (
        "detection",
        "semantic",
    ): "boxes of 8-connected components of things, scored by their share of the image",
    ("instance", "panoptic"): "segments of things, with their scores",
    ("instance", "semantic"): "8-connected components of things, scored by their share of the image",
    ("panoptic", "semantic"): "8-connected components of things, one segment for each stuff class",
    ("panoptic", "instance"): "things by descending score without overlap, from min_score on",
}
"""(scored task, predicted task) -> description of the conversion, as scores.json quotes it."""
_EIGHT = np.ones((3, 3), bool)


def semantic_from_panoptic(segments: SegmentMap) -> np.ndarray:
    """Return the H x W map of the category ids of the segments; 0 where there is no segment."""
    return np.concatenate([[0], segments.class_ids])[segments.index]


def instances_from_panoptic(segments: SegmentMap, things: Sequence[int]) -> Objects:
    """Return the segments whose class is one of `things` (category ids) as objects, with their scores."""
    found = segments.masks()
    kept = [k for k, o in found.items() if o["category_id"] in things]
    masks = [found[k]["segmentation"] for k in kept]
    boxes = rle.toBbox(masks) if masks else np.zeros((0, 4))
    crowd = np.zeros(len(kept), bool)
    return Objects(segments.class_ids[kept], masks, boxes, areas(masks), segments.scores[kept], crowd)


def panoptic_from_semantic(labels: np.ndarray, things: Sequence[int]) -> SegmentMap:
    """Return the 8-connected components of each thing, and one segment for each other class of the map.

    The score of a segment is the fraction of the image that it covers.

    Args:
        labels: H x W category ids; 0 = no class.
        things: category ids of the classes that are split into components.
    """
    from scipy import ndimage  # slow to import, and few cells need it

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
    return SegmentMap(index, np.array(class_ids, int), areas / labels.size)


def panoptic_from_instances(objects: Objects, shape: tuple[int, int], min_score: float) -> SegmentMap:
    """Return the objects with a score of at least `min_score` as segments.

    Where objects overlap, the one with the higher score is on top. `shape` is height and width.
    """
    index = np.zeros(shape, np.int32)
    sure = np.flatnonzero(objects.scores >= min_score)
    for k in sure[np.argsort(objects.scores[sure], kind="stable")]:
        index[rle.decode(objects.masks[k]).astype(bool)] = k + 1
    return SegmentMap(index, objects.class_ids, objects.scores)
