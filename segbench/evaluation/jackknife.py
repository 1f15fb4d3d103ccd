"""How much a score depends on which images were tested: the delete-a-group jackknife.

The score is computed again without each image in turn, or without each group of images that are alike, such as
those of a patient. With many images, blocks of images drawn by lot are left out together, so that the work is
bounded (Shao and Tu, The Jackknife and Bootstrap, 1995, sections 2.1 and 5.1).
"""

from __future__ import annotations

import numpy as np

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


def covariance(values: np.ndarray) -> np.ndarray:
    """Return the covariance matrix of k scores, k x k, from the scores without each block, k x M.

    It is NaN for less than two blocks. A score that is undefined without a block counts as unchanged by it.
    """
    count = values.shape[1]
    if count < 2:
        return np.full((len(values), len(values)), np.nan)
    known = ~np.isnan(values)
    centre = np.where(known, values, 0).sum(1, keepdims=True) / np.maximum(known.sum(1, keepdims=True), 1)
    deviation = np.where(known, values - centre, 0)
    return (count - 1) / count * deviation @ deviation.T
