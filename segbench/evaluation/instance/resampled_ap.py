"""AP on resamples of the images, from the matches of the original images.

Along the detections of a class, by falling score, the precision has its peaks at true positives. Only these
are followed, for all resamples at once: the sums of weights along the detections replace the counts.

Recall levels are compared with a tolerance of 1e-4 of a level, where COCO compares floats, so AP may differ
from COCO's by a level.
"""

from __future__ import annotations

import numpy as np

from segbench.evaluation.averages import mean
from segbench.evaluation.instance.ap import RECALLS, Detections
from segbench.evaluation.instance.matching import THRESHOLDS

_AT_ONCE = 4_000_000
"""Size limit of one array of resampled detections, to bound the memory."""


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
    drawn = weights[found.images]
    seen = drawn.cumsum(0)
    hits, misses = found.hits(0)
    result = np.zeros((len(THRESHOLDS), weights.shape[1]))
    levels = (len(RECALLS) - 1) / np.maximum(truths, 1)
    for own, hit, counted in zip(result, hits, hits | misses):
        at = np.flatnonzero(hit)
        if not at.size:
            continue
        true = drawn[at].cumsum(0)
        passed = np.flatnonzero(~counted)
        all_seen = seen[at]
        if passed.size:  # crowds
            before = np.concatenate([np.zeros_like(seen[:1]), drawn[passed].cumsum(0)])
            all_seen = all_seen - before[np.searchsorted(passed, at)]
        precision = true / np.maximum(all_seen, 1)
        precision = np.maximum.accumulate(precision[::-1])[::-1]
        reached = np.floor(true * levels + 1e-4) + 1
        reached[1:] -= reached[:-1].copy()
        own[:] = (precision * reached).sum(0, dtype=float) / len(RECALLS)
    return np.where(truths > 0, result, np.nan)
