"""Conversions of a prediction for one task into one for another, so that unlike networks meet in one table.

Maps hold category ids, 0 where nothing is. Objects are `Found`, segments are `Segments`.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from pycocotools import mask as rle

from segbench.evaluation.instance import Found
from segbench.evaluation.panoptic import Segments

_EIGHT = np.ones((3, 3), bool)


def semantic_from_panoptic(segments: Segments) -> np.ndarray:
    """Class map of the segments, 0 where there is none."""
    return np.concatenate([[0], segments.class_ids])[segments.index]


def instances_from_panoptic(segments: Segments, scores: np.ndarray, things: Sequence[int]) -> Found:
    """The segments of things as objects."""
    kept = np.flatnonzero(np.isin(segments.class_ids, things) & ~segments.crowd)
    return _objects(segments.index, kept + 1, segments.class_ids[kept], scores[kept])


def instances_from_semantic(labels: np.ndarray, things: Sequence[int]) -> Found:
    """The components of things as objects; the score is the share of the image that it covers."""
    segments = panoptic_from_semantic(np.where(np.isin(labels, things), labels, 0), things)
    areas = np.bincount(segments.index.ravel(), minlength=len(segments.class_ids) + 1)[1:]
    numbers = np.arange(1, len(areas) + 1)
    return _objects(segments.index, numbers, segments.class_ids, areas / max(labels.size, 1))


def panoptic_from_semantic(labels: np.ndarray, things: Sequence[int]) -> Segments:
    """8-connected components of things, and one segment for each other class of the map."""
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
    return Segments(index, np.array(class_ids, int), np.zeros(len(class_ids), bool))


def panoptic_from_instances(found: Found, shape: tuple[int, int], min_score: float) -> Segments:
    """Objects as segments; where they overlap the better score is on top."""
    index = np.zeros(shape, np.int32)
    sure = np.flatnonzero(found.scores >= min_score)
    for k in sure[np.argsort(found.scores[sure], kind="stable")]:
        index[rle.decode(found.masks[k]).astype(bool)] = k + 1
    return Segments(index, found.class_ids, np.zeros(len(found.class_ids), bool))


def _objects(index: np.ndarray, numbers: np.ndarray, class_ids: np.ndarray, scores: np.ndarray) -> Found:
    present = np.isin(numbers, index).nonzero()[0]
    masks = [rle.encode(np.asfortranarray(index == numbers[k], dtype=np.uint8)) for k in present]
    bounds = rle.toBbox(masks) if masks else np.zeros((0, 4))
    areas = np.asarray(rle.area(masks) if masks else [], float)
    return Found(class_ids[present], masks, bounds, areas, scores[present], np.zeros(len(masks), bool))
