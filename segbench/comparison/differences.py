"""The difference between two sets of cells of one network, such as yesterday's and today's."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from segbench.comparison.estimates import combined, estimates
from segbench.comparison.pairs import p_value
from segbench.contract.view import Task
from segbench.evaluation.bootstrap import units
from segbench.evaluation.intervals import of_difference
from segbench.evaluation.jackknife import left_out
from segbench.evaluation.resampled import resampled
from segbench.evaluation.statistics import Statistics


@dataclass(frozen=True)
class Difference:
    """The scores of both sides, and b minus a."""

    a: float
    b: float
    difference: float
    low: float
    """Lower end of the 95 % interval; NaN where it is undefined, such as on a single image."""
    high: float
    p: float
    """Two-sided; NaN where the interval is undefined."""


def same_images(a: Statistics, b: Statistics, task: Task) -> bool:
    """Return whether two files are on images of the same ids, groups and names."""
    if (a.metadata.image_ids, a.metadata.groups) != (b.metadata.image_ids, b.metadata.groups):
        return False
    return _names(a, task) == _names(b, task)


def _names(statistics: Statistics, task: Task) -> dict[int, str]:
    found: dict[int, str] = {}
    for batch in statistics.batches(task, ()):
        found |= zip(batch.image_ids.tolist(), batch.names())
    return found


def differences(
    a: Sequence[Statistics], b: Sequence[Statistics], task: Task, *, same_data: bool, same_seeds: bool
) -> dict[str, Difference]:
    """Return the difference of each metric that follows from the per-image statistics.

    The error of the mean over the seeds has two parts, that over the images and that over the seeds (see
    `segbench.comparison.estimates`). With one seed on a side, the latter is left out for that side.

    Args:
        a, b: files of each side, one for each seed.
        task: a task of all files.
        same_data: whether both sides are on the same images. The difference is then paired by image.
        same_seeds: whether the files of both sides are of the same seeds in the same order. The difference is
            then paired by seed, too.
    """
    sides = [_scores(side, task) for side in (a, b)]
    least = min(_units(side[0]) for side in (a, b))
    found = {}
    for metric in (name for name in sides[0] if name in sides[1]):
        first, second = (side[metric] for side in sides)
        value, error, freedom = _error(first, second, same_data, same_seeds)
        low, high = of_difference(value, error, freedom) or (math.nan, math.nan)
        p = p_value(value, error, freedom, least)
        means = [float(side[:, 0].mean()) for side in (first, second)]
        found[metric] = Difference(means[0], means[1], value, low, high, p)
    return found


def _units(statistics: Statistics) -> int:
    return int(units(statistics.metadata).max(initial=-1) + 1)


def _scores(side: Sequence[Statistics], task: Task) -> dict[str, np.ndarray]:
    """Return the scores of each seed by metric, S x (1 + M): on all images, and without each block."""
    without = left_out(side[0].metadata)
    weights = np.concatenate([np.ones_like(without[:1]), without])
    by_seed = [resampled(one, task, weights) for one in side]
    return {metric: np.array([scores[metric] for scores in by_seed]) for metric in by_seed[0]}


def _error(a: np.ndarray, b: np.ndarray, same_data: bool, same_seeds: bool) -> tuple[float, float, float]:
    """Return the difference b minus a of S x (1 + M) scores, its standard error, and its freedom."""
    if same_data and same_seeds:
        found = estimates([b - a])
        errors, freedoms = found.of_scores()
        return float(found.values[0]), float(errors[0]), float(freedoms[0])
    if same_data:
        found = estimates([b, a])
        errors, freedoms = found.of_differences()
        return float(found.values[0] - found.values[1]), float(errors[0, 1]), float(freedoms[0, 1])
    own = [estimates([side]) for side in (a, b)]
    parts = [(errors**2, freedoms) for errors, freedoms in (one.of_scores() for one in own)]
    errors, freedoms = combined(parts)
    return float(own[1].values[0] - own[0].values[0]), float(errors[0]), float(freedoms[0])
