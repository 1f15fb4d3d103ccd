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
from segbench.evaluation.jackknife import covariance


@dataclass(frozen=True)
class Estimates:
    """Scores of k models, and what their errors are made of."""

    values: np.ndarray
    """k means over the seeds."""
    images: np.ndarray
    """k x k covariance over the images."""
    seeds: np.ndarray
    """k variances of the mean over the seeds; 0 with one seed, which tells nothing of others."""
    repetitions: np.ndarray
    """k numbers of seeds."""
    blocks: int
    """Number M of blocks of the jackknife."""

    def of_scores(self) -> tuple[np.ndarray, np.ndarray]:
        """Return the k standard errors of the scores, and their degrees of freedom."""
        images = np.diag(self.images)
        return _combined([(images, self.blocks - 1.0), (self.seeds, self.repetitions - 1.0)])

    def of_differences(self) -> tuple[np.ndarray, np.ndarray]:
        """Return the standard errors of all differences, k x k, and their degrees of freedom."""
        images = self.images_of_differences()
        freedom = self.repetitions - 1.0
        return _combined(
            [
                (images, self.blocks - 1.0),
                (np.broadcast_to(self.seeds[:, None], images.shape), freedom[:, None]),
                (np.broadcast_to(self.seeds, images.shape), freedom),
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
    return Estimates(
        means[:, 0], covariance(means[:, 1:]), np.nan_to_num(np.array(seeds)), repetitions, means.shape[1] - 1
    )


def _combined(parts: list[tuple[np.ndarray, np.ndarray | float]]) -> tuple[np.ndarray, np.ndarray]:
    variance = sum((part for part, _ in parts), np.zeros_like(parts[0][0]))
    spread = np.zeros_like(variance)
    for part, freedom in parts:
        spread = spread + np.where(part > 0, part**2 / np.maximum(freedom, 1), 0)
    whole = np.full_like(variance, float(np.max(parts[0][1])))
    return np.sqrt(variance), np.divide(variance**2, spread, out=whole, where=spread > 0)
