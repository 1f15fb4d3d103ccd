"""AP on resamples of the images, from the matches of the original images.

Along the detections of a class, by falling score, the precision has its peaks at true positives. Only these
are followed, for all resamples at once: the sums of weights along the detections replace the counts.

Recall levels are compared with a tolerance of 1e-4 of a level, where COCO compares floats, so AP may differ
from COCO's by a level.
"""

from __future__ import annotations

from itertools import pairwise

import numpy as np

from segbench.evaluation.averages import mean
from segbench.evaluation.instance.ap import RECALLS, Detections
from segbench.evaluation.instance.matching import THRESHOLDS

_AT_ONCE = 16_000_000
"""Size limit of one array of resampled true positives, to bound the memory."""


def resampled_ap(found: list[Detections], weights: np.ndarray, prefix: str = "") -> dict[str, np.ndarray]:
    """Return `ap`, `ap50` and `ap75` on each of B resamples, as B floats.

    Args:
        found: the detections of each class.
        weights: B x images, how often each image is in each resample.
        prefix: of the names, `box_` for boxes.
    """
    by_image = np.ascontiguousarray(weights.T, np.float32)
    values = np.full((len(found), len(THRESHOLDS), len(weights)), np.nan)
    for own, row in zip(found, values):
        step = max(1, _AT_ONCE // max(1, len(own.images)))
        for start in range(0, len(weights), step):
            row[:, start : start + step] = _of_class(own, by_image[:, start : start + step])
    classes = mean(values, 0)  # a class is defined for all thresholds or for none
    return {
        f"{prefix}ap": classes.mean(0),
        f"{prefix}ap50": classes[0],
        f"{prefix}ap75": classes[5],
    }


def _of_class(found: Detections, weights: np.ndarray) -> np.ndarray:
    """Return AP of a class at each threshold, T x B, from images x B weights; NaN without truth."""
    truths = found.truths[:, 0].astype(np.float32) @ weights[found.true_images]
    result = np.zeros((len(THRESHOLDS), weights.shape[1]))
    levels = (len(RECALLS) - 1) / np.maximum(truths, 1)
    hits, misses = found.hits(0)
    rows = np.flatnonzero(hits.any(0))
    drawn, seen = weights[found.images[rows]], _seen(found, rows, slice(None), weights)
    for own, hit, miss in zip(result, hits, misses):
        at = np.flatnonzero(hit[rows])
        if not at.size:
            continue
        true, all_seen = _accumulated(np.add, drawn[at]), seen[at]
        passed = np.flatnonzero(~hit & ~miss)
        if passed.size:  # crowds
            all_seen = all_seen - _seen(found, rows[at], passed, weights)
        precision = true / np.maximum(all_seen, 1)
        _accumulated(np.maximum, precision[::-1])
        reached = np.floor(true * levels + 1e-4) + 1
        own[:] = precision[0] * reached[0] + (precision[1:] * (reached[1:] - reached[:-1])).sum(0)
    return np.where(truths > 0, result / len(RECALLS), np.nan)


def _seen(found: Detections, rows: np.ndarray, which: np.ndarray | slice, weights: np.ndarray) -> np.ndarray:
    """Return the weights of the detections `which` up to and including each of `rows`, rows x B."""
    places = np.arange(len(found.images))[which]
    segment = np.searchsorted(rows, places)  # the first of `rows` that is not before the detection
    inside = segment < len(rows)
    pairs = segment[inside], found.images[places[inside]]
    from scipy.sparse import csr_array  # slow to import, and many steps do without

    counts = csr_array((np.ones(len(pairs[0]), np.float32), pairs), (len(rows), len(weights)))
    return _accumulated(np.add, counts @ weights)


def _accumulated(operation: np.ufunc, values: np.ndarray) -> np.ndarray:
    """Accumulate the rows of an array in place, four times as fast as `operation.accumulate`; return it."""
    for before, own in pairwise(values):
        operation(before, own, out=own)
    return values
