"""COCO's greedy matching, for many images and classes at once.

By descending score, each detection takes the free true object with the highest IoU, if that reaches the
threshold. The result equals `pycocotools.cocoeval.COCOeval.evaluateImg` for every area range and threshold.
hotcoco finds the same matches, but returns those of single images as Python objects only, which takes ten
times as long as the matching.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

THRESHOLDS = np.linspace(0.5, 0.95, 10)
"""IoU thresholds, computed as in COCOeval, with the same rounding errors."""
AREAS = {"all": (0, 1e10), "small": (0, 32**2), "medium": (32**2, 96**2), "large": (96**2, 1e10)}
"""Area ranges in pixels, lowest and highest area included."""
_RANGES = np.array(list(AREAS.values()), float)
_BITS = (1 << np.arange(len(THRESHOLDS))).astype(np.uint16)
_THRESHOLDS = np.minimum(THRESHOLDS, 1 - 1e-10)
_VOLUME = 500_000
"""Largest number of detections x true objects that are matched at once, to bound the memory."""
_Part = tuple[int, np.ndarray, np.ndarray]
"""Index of a group, and its detections and truths that overlap enough to match."""


@dataclass
class Group:
    """D detections and G true objects of one class in one image. Detections have descending scores."""

    start: int
    """Position of the first detection among all detections that are matched together."""
    iou: np.ndarray
    """D x G IoUs as from `pycocotools.mask.iou`: for crowds, intersection / area of the detection."""
    truth_areas: np.ndarray
    """G areas in pixels."""
    crowd: np.ndarray
    """G bool."""


def outside(areas: np.ndarray) -> np.ndarray:
    """Return for N areas whether they lie outside each of the four area ranges, N x 4 bool."""
    return (areas[:, None] < _RANGES[:, 0]) | (areas[:, None] > _RANGES[:, 1])


def match(groups: list[Group], areas: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Match the detections of each group with its true objects.

    Args:
        groups: all classes and images with both detections and truth.
        areas: areas of all N detections in pixels, including detections without truth of their class in the
            image, which belong to no group.

    Returns:
        (matched, ignored): N x 4 uint16 bit masks over `THRESHOLDS`, one column for each area range.
    """
    matched, ignored = np.zeros((2, len(areas), len(AREAS)), np.uint16)
    for batch in _batches(groups):
        hits, passed = _match([(groups[at], d, g) for at, d, g in batch])
        for k, (at, detections, _) in enumerate(batch):
            matched[groups[at].start + detections] = hits[k, : len(detections)]
            ignored[groups[at].start + detections] = passed[k, : len(detections)]
    ignored |= np.where(outside(areas), ~matched & _BITS.sum(), 0).astype(np.uint16)
    return matched, ignored


def _batches(groups: list[Group]) -> Iterator[list[_Part]]:
    """Yield groups of similar size together, each reduced to the rows and columns that can match."""
    parts = []
    for at, group in enumerate(groups):
        close = group.iou >= _THRESHOLDS[0]
        if close.any():
            parts.append((at, np.flatnonzero(close.any(1)), np.flatnonzero(close.any(0))))
    batch: list[_Part] = []
    rows = columns = 0
    for part in sorted(parts, key=lambda p: len(p[1]) * len(p[2])):
        rows, columns = max(rows, len(part[1])), max(columns, len(part[2]))
        if batch and rows * columns * (len(batch) + 1) > _VOLUME:
            yield batch
            batch, rows, columns = [], len(part[1]), len(part[2])
        batch.append(part)
    if batch:
        yield batch


def _match(parts: list[tuple[Group, np.ndarray, np.ndarray]]) -> tuple[np.ndarray, np.ndarray]:
    """Return (matched, ignored), N x D x 4 bit masks, padded to the largest part."""
    rows, columns = max(len(p[1]) for p in parts), max(len(p[2]) for p in parts)
    iou = np.full((len(parts), rows, columns), -1.0)
    crowd = np.zeros((len(parts), 1, 1, columns), bool)
    ignore = np.zeros((len(parts), len(AREAS), 1, columns), bool)
    for n, (group, detections, truths) in enumerate(parts):
        iou[n, : len(detections), : len(truths)] = group.iou[np.ix_(detections, truths)]
        crowd[n, 0, 0, : len(truths)] = group.crowd[truths]
        ignore[n, :, 0, : len(truths)] = (outside(group.truth_areas[truths]) | group.crowd[truths, None]).T
    free = np.ones((len(parts), len(AREAS), len(THRESHOLDS), columns), bool)
    matched = np.zeros((len(parts), rows, len(AREAS)), np.uint16)
    ignored = np.zeros_like(matched)
    for d in range(rows):
        overlap = iou[:, d, None, None, :]
        found = free & (overlap >= _THRESHOLDS[:, None])
        counted = found & ~ignore
        found = np.where(counted.any(-1, keepdims=True), counted, found)  # prefer truth that is not ignored
        overlap = np.where(found, overlap, -1)[..., ::-1]  # of equal IoUs the last one wins
        best = columns - 1 - overlap.argmax(-1)[..., None]
        hit = np.take_along_axis(found, best, -1)
        passed = hit & np.take_along_axis(np.broadcast_to(ignore, found.shape), best, -1)
        stays = ~hit | np.take_along_axis(np.broadcast_to(crowd, found.shape), best, -1)
        np.put_along_axis(free, best, np.take_along_axis(free, best, -1) & stays, -1)
        matched[:, d] = hit[..., 0] @ _BITS
        ignored[:, d] = passed[..., 0] @ _BITS
    return matched, ignored
