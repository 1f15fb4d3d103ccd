"""Intervals of 95 % of a score over the test images, and of the difference between two cells.

The interval is Student's, with the standard error of the jackknife, on the logarithm of the odds of the
score: its ends stay between 0 and 1, and it reaches farther to the side with more room. In simulations it
contains the true score more often than the percentile bootstrap, above all with few images; see
docs/metrics.md.
"""

from __future__ import annotations

import numpy as np

from segbench.contract.scores import PRIMARY
from segbench.contract.view import Task
from segbench.evaluation.jackknife import covariance, deviations, freedom, left_out
from segbench.evaluation.resampled import resampled
from segbench.evaluation.statistics import Statistics

LEVEL = 0.95
Bounds = tuple[float, float]


def of_score(value: float, error: float, degrees: float) -> Bounds | None:
    """Return the interval of a score in 0..1; None if the score or its error is undefined.

    Args:
        value: the score.
        error: its standard error.
        degrees: the degrees of freedom of the error.
    """
    if np.isnan(value) or np.isnan(error) or not degrees > 0:
        return None
    if error == 0 or not 0 < value < 1:  # nothing varies, as with a perfect prediction
        return float(value), float(value)
    from scipy.special import expit, logit, stdtrit  # slow to import, and many steps do without

    reach = stdtrit(degrees, (1 + LEVEL) / 2) * error / (value * (1 - value))
    return float(expit(logit(value) - reach)), float(expit(logit(value) + reach))


def of_difference(value: float, error: float, degrees: float) -> Bounds | None:
    """Return the interval of a difference of two scores, which may be negative; see `of_score`."""
    if np.isnan(value) or np.isnan(error) or not degrees > 0:
        return None
    from scipy.special import stdtrit

    reach = stdtrit(degrees, (1 + LEVEL) / 2) * error
    return float(value - reach), float(value + reach)


def primary_metric(statistics: Statistics, task: Task) -> str:
    """Return the primary metric of a task in a file; that of boxes if the file has no masks."""
    boxes_only = task == "instance" and "mask" not in statistics.metadata.tasks[task].kinds
    return f"box_{PRIMARY[task]}" if boxes_only else PRIMARY[task]


def interval(statistics: Statistics, task: Task) -> Bounds | None:
    """Return the 95 % interval of the primary score over the images; None if undefined."""
    values = _values(statistics, task)
    return of_score(values[0], *error(values[1:]))


def difference(a: Statistics, b: Statistics, task: Task) -> Bounds | None:
    """Return the 95 % interval of the primary score of `a` minus that of `b`, paired by image.

    Raises:
        ValueError: the files hold different images or groups.
    """
    if (a.metadata.image_ids, a.metadata.groups) != (b.metadata.image_ids, b.metadata.groups):
        raise ValueError(f"{a.path} and {b.path} are not on the same images")
    values = _values(a, task) - _values(b, task)
    return of_difference(values[0], *error(values[1:]))


def _values(statistics: Statistics, task: Task) -> np.ndarray:
    """Return the primary score of all images, and without each block, 1 + M floats."""
    without = left_out(statistics.metadata)
    weights = np.concatenate([np.ones_like(without[:1]), without])
    metric = primary_metric(statistics, task)
    return resampled(statistics, task, weights, metric)[metric]


def error(values: np.ndarray) -> tuple[float, float]:
    """Return the standard error of a score from its values without each of M blocks, and its freedom."""
    return float(np.sqrt(covariance(values[None])[0, 0])), float(freedom(deviations(values)))
