"""How much a score depends on which images were tested: the delete-a-group jackknife.

The score is computed again without each image in turn, or without each group of images that are alike, such
as those of a patient. With many images, random blocks of images are left out together, so that the work
is bounded (Shao and Tu, The Jackknife and Bootstrap, 1995, sections 2.1 and 5.1).
"""

from __future__ import annotations

import numpy as np

from segbench.evaluation.averages import ratio
from segbench.evaluation.bootstrap import units
from segbench.evaluation.statistics import Metadata

MOST_BLOCKS = 200
"""Maximum number of blocks. The standard error of M blocks has itself an error of 1 / sqrt(2 M): 5 %."""


def left_out(metadata: Metadata, most: int = MOST_BLOCKS) -> np.ndarray:
    """Return the weights of the images without each block, M x images uint16 of 0 and 1.

    Args:
        metadata: names the images and their groups. A group is never divided.
        most: maximum number M of blocks.
    """
    unit = units(metadata)
    number = unit.max(initial=-1) + 1
    order = np.random.default_rng(0).permutation(number)  # by lot: neighbours are often alike
    block = np.empty(number, int)
    block[order] = np.arange(number) % max(1, min(number, most))
    return (block[unit] != np.arange(min(number, most))[:, None]).astype(np.uint16)


def deviations(values: np.ndarray) -> np.ndarray:
    """Return the differences of k x M scores without a block from their mean, k x M.

    A score that is undefined without a block counts as unchanged by it.
    """
    known = ~np.isnan(values)
    total = np.where(known, values, 0).sum(-1, keepdims=True)
    return np.where(known, values - total / np.maximum(known.sum(-1, keepdims=True), 1), 0)


def freedom(deviations: np.ndarray) -> np.ndarray:
    """Return the degrees of freedom of standard errors from ... x M deviations: at most M - 1.

    An error that few blocks decide, such as the only ones with a class, is less certain than M blocks
    promise. The variance of a sample variance is its square x (kurtosis - 1) / M (Cramer, Mathematical
    Methods of Statistics, 1946, 27.4), so that 2 (M - 1) / (kurtosis - 1) degrees of freedom have the same.
    """
    most = deviations.shape[-1] - 1.0
    squares = (deviations**2).sum(-1)
    kurtosis = ratio(deviations.shape[-1] * (deviations**4).sum(-1), squares**2)
    return 2 * most / np.maximum(np.nan_to_num(kurtosis, nan=3) - 1, 2)


def covariance(values: np.ndarray) -> np.ndarray:
    """Return the covariance matrix of k scores, k x k, from the scores without each block, k x M.

    It is NaN for less than two blocks.
    """
    count = values.shape[1]
    if count < 2:
        return np.full((len(values), len(values)), np.nan)
    deviation = deviations(values)
    return (count - 1) / count * deviation @ deviation.T
