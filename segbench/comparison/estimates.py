"""Mean scores over the seeds, and their standard errors over images and seeds together.

The variance of a mean score has two parts: that over the images (jackknife of the mean over the seeds, paired
across models) and that over the seeds (sample variance / S; the seeds of different models are independent).
The part of both together, image by seed, is in both, so the sum is a little too large rather than too small.
The degrees of freedom of the sum are Satterthwaite's (Biometrics Bulletin 2, 1946).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from segbench.evaluation.averages import mean
from segbench.evaluation.jackknife import covariance, deviations, freedom


@dataclass(frozen=True)
class Estimates:
    """Scores of k models, and what their errors are made of."""

    values: np.ndarray
    """k means over the seeds."""
    images: np.ndarray
    """k x k covariance over the images."""
    deviations: np.ndarray
    """k x M deviations of the jackknife."""
    seeds: np.ndarray
    """k variances of the mean over the seeds; 0 with one seed, which tells nothing of others."""
    repetitions: np.ndarray
    """k numbers of seeds."""

    def of_scores(self) -> tuple[np.ndarray, np.ndarray]:
        """Return the k standard errors of the scores, and their degrees of freedom."""
        images = np.diag(self.images)
        return combined([(images, freedom(self.deviations)), (self.seeds, self.repetitions - 1.0)])

    def of_differences(self) -> tuple[np.ndarray, np.ndarray]:
        """Return the standard errors of all differences, k x k, and their degrees of freedom."""
        images = self.images_of_differences()
        own = freedom(self.deviations[:, None] - self.deviations)
        seeds = self.repetitions - 1.0
        return combined(
            [
                (images, own),
                (np.broadcast_to(self.seeds[:, None], images.shape), seeds[:, None]),
                (np.broadcast_to(self.seeds, images.shape), seeds),
            ]
        )

    def images_of_differences(self) -> np.ndarray:
        """Return the variances of all differences over the images, k x k."""
        own = np.diag(self.images)
        return np.maximum(own[:, None] + own - 2 * self.images, 0)


def estimates(scores: list[np.ndarray]) -> Estimates:
    """Return the estimates of k models from S x (1 + M) scores of each (see `Resamples.scores`)."""
    means = np.array([mean(own, 0) for own in scores])
    repetitions = np.array([len(own) for own in scores])
    seeds = [own[:, 0].var(ddof=1) / len(own) if len(own) > 1 else 0.0 for own in scores]
    without = means[:, 1:]
    variances = np.nan_to_num(np.array(seeds))
    return Estimates(means[:, 0], covariance(without), deviations(without), variances, repetitions)


def combined(parts: list[tuple[np.ndarray, np.ndarray]]) -> tuple[np.ndarray, np.ndarray]:
    """Return the standard error of a sum, and its degrees of freedom, from the (variance, freedom) of its
    independent parts.
    """
    variance = sum((part for part, _ in parts), np.zeros_like(parts[0][0]))
    spread = np.zeros_like(variance)
    for part, degrees in parts:
        spread = spread + np.where(part > 0, part**2 / np.maximum(degrees, 1), 0)
    found = np.array(np.broadcast_to(parts[0][1], variance.shape), float)
    return np.sqrt(variance), np.divide(variance**2, spread, out=found, where=spread > 0)
