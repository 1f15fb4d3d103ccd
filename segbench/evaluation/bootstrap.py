"""Confidence intervals of the primary scores, and of their difference between two cells.

Percentile bootstrap over the images (Efron and Tibshirani, An Introduction to the Bootstrap, 1993, ch. 13):
each resample draws as many images as there are, with replacement. For a difference, both cells use the same
resamples (paired).

If images have groups, such as patients, whole groups are drawn in place of images (cluster bootstrap; Davison
and Hinkley, Bootstrap Methods and their Application, 1997, section 3.8). Images of a group are alike, so
drawing single images would make the interval too narrow.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from segbench.contract.view import Task
from segbench.evaluation.averages import mean
from segbench.evaluation.instance import ap as instance
from segbench.evaluation.instance.matching import THRESHOLDS
from segbench.evaluation.panoptic import quality as panoptic
from segbench.evaluation.semantic import confusion as semantic
from segbench.evaluation.statistics import Metadata, Statistics, positions

_LEVELS = (2.5, 97.5)
_AT_ONCE = 2_000_000
"""Size limit of one array of resampled curves, to bound the memory."""


def draws(units: int, samples: int, seed: int) -> np.ndarray:
    """Return how often each image, or group, is in each resample, samples x units uint16.

    Equal arguments give equal draws.
    """
    rng = np.random.default_rng(seed)
    drawn = [np.bincount(rng.integers(0, units, units), minlength=units) for _ in range(samples)]
    return np.array(drawn, np.uint16).reshape(samples, units)


def image_draws(metadata: Metadata, samples: int, seed: int) -> np.ndarray:
    """Return how often each image is in each resample, samples x images uint16.

    Groups are drawn as a whole. An image without a group is one of its own.
    """
    if metadata.groups is None:
        return draws(len(metadata.image_ids), samples, seed)
    # an image without a group is known by its place
    labels = [place if group is None else group for place, group in enumerate(metadata.groups)]
    unit_of = {label: number for number, label in enumerate(dict.fromkeys(labels))}
    return draws(len(unit_of), samples, seed)[:, [unit_of[label] for label in labels]]


def resampled(statistics: Statistics, task: Task, samples: int, seed: int) -> np.ndarray:
    """Return the primary score of `task` on each resample of the images or groups: `samples` floats.

    The score is NaN where it is undefined, for example on a resample without truth.
    """
    weights = image_draws(statistics.metadata, samples, seed)
    if task in ("detection", "instance"):
        return _resampled_ap(statistics, task, weights)
    counts: Any = panoptic.counts if task == "panoptic" else semantic.counts
    score: Any = panoptic.pq if task == "panoptic" else semantic.miou
    columns = panoptic.COLUMNS if task == "panoptic" else semantic.COLUMNS
    ids = [c.id for c in statistics.metadata.tasks[task].classes]
    total = np.zeros((samples, len(ids), 4 if task == "panoptic" else 3))
    for batch in statistics.batches(task, columns):
        at = positions(batch.image_ids, statistics.metadata.image_ids)
        total += np.tensordot(weights[:, at].astype(float), counts(batch, ids).astype(float), 1)
    return score(total)


def _resampled_ap(statistics: Statistics, task: Task, weights: np.ndarray) -> np.ndarray:
    """Return AP on each resample.

    Recall levels are compared in whole numbers. COCO compares floats, so a level or two may differ.
    """
    found = instance.detections(statistics, task, statistics.metadata.tasks[task].kinds[0])
    values = np.full((len(found), len(weights)), np.nan)
    for k, own in enumerate(found):
        hits, misses = own.hits(0)
        step = max(1, _AT_ONCE // max(1, hits.size))
        for start in range(0, len(weights), step):
            drawn = weights[start : start + step].astype(np.int64)
            truths = drawn[:, own.true_images] @ own.truths[:, 0].astype(np.int64)
            weight = drawn[:, None, own.images]
            true, false = (weight * hits).cumsum(-1), (weight * misses).cumsum(-1)
            precision = true / np.maximum(true + false, 1)
            precision = np.maximum.accumulate(precision[..., ::-1], -1)[..., ::-1]
            levels = 100 * true // np.maximum(truths, 1)[:, None, None] + 1  # recall levels reached, of 101
            new = np.diff(levels, axis=-1, prepend=0)
            area = (precision * new).sum((1, 2)) / (101 * len(THRESHOLDS))
            values[k, start : start + step] = np.where(truths > 0, area, np.nan)
    return mean(values, 0)


def interval(statistics: Statistics, task: Task) -> tuple[float, float] | None:
    """Return the 95 % interval of the primary score, by the options in the file; None if undefined."""
    options = statistics.metadata.options
    return _bounds(resampled(statistics, task, options.bootstrap_samples, options.bootstrap_seed))


def difference(
    a: Statistics, b: Statistics, task: Task, *, samples: int, seed: int
) -> tuple[float, float] | None:
    """Return the 95 % interval of the primary score of `a` minus that of `b`, on the same resamples.

    Raises:
        ValueError: the files hold different images or groups.
    """
    if (a.metadata.image_ids, a.metadata.groups) != (b.metadata.image_ids, b.metadata.groups):
        raise ValueError(f"{a.path} and {b.path} are not on the same images")
    return _bounds(resampled(a, task, samples, seed) - resampled(b, task, samples, seed))


def _bounds(values: np.ndarray) -> tuple[float, float] | None:
    values = values[~np.isnan(values)]
    if not values.size:
        return None
    low, high = np.percentile(values, _LEVELS)
    return float(low), float(high)
