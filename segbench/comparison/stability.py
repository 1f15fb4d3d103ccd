"""How far an order depends on chance: a bootstrap over seeds and images together.

Each draw takes images (or groups) with replacement, the same for all networks, and for each network seeds
with replacement. S seeds drawn with replacement vary too little by the factor (S - 1) / S, so their
deviations are enlarged by its inverse root (Rao and Wu, JASA 83, 1988). The share of draws in which a network
is first is that of challengeR (Wiesenfarth et al., Scientific Reports 11, 2021); the probability of
improvement is that of Agarwal et al. (NeurIPS 2021).
"""

from __future__ import annotations

from itertools import combinations

import numpy as np
from scipy.stats import rankdata

PERCENTILES = (2.5, 97.5)


def seed_weights(repetitions: list[int], draws: int, seed: int) -> list[np.ndarray]:
    """Return how often each seed of each model is in each draw, S x draws for each model."""
    rng = np.random.default_rng(seed)
    return [rng.multinomial(s, np.full(s, 1 / s), draws).T for s in repetitions]


def mean_scores(draws: list[np.ndarray], weights: list[np.ndarray]) -> np.ndarray:
    """Return the mean score of k models over the drawn seeds, k x B.

    Args:
        draws: for each model, S x B scores on the drawn images.
        weights: for each model, S x B, from `seed_weights`.
    """
    means = []
    for scores, weight in zip(draws, weights):
        count = len(scores)
        known = np.nan_to_num(scores)
        mean = known.mean(0)
        factor = np.sqrt(count / (count - 1)) if count > 1 else 0.0
        means.append(mean + factor * ((weight * known).sum(0) / count - mean))
    return np.array(means)


def ranks(scores: np.ndarray) -> np.ndarray:
    """Return the ranks in each of B draws, k x B; 1 is the highest score, ties share the mean."""
    return rankdata(-scores, axis=0)


def share_of_first(ranks: np.ndarray) -> np.ndarray:
    """Return the share of draws in which each of k models has the lowest rank; ties share a draw."""
    first = ranks == ranks.min(0)
    return (first / first.sum(0)).mean(1)


def improvement(draws: list[np.ndarray], weights: list[np.ndarray]) -> np.ndarray:
    """Return for each pair of models the share of pairs of drawn seeds in which the first is better.

    Returns:
        P x B for the P pairs of `itertools.combinations`; equal scores count as half.
    """
    result = []
    for i, j in combinations(range(len(draws)), 2):
        a, b = draws[i][:, None], draws[j][None]
        better = (a > b) + 0.5 * (a == b)
        result.append((better * weights[i][:, None] * weights[j][None]).mean((0, 1)))
    return np.array(result).reshape(-1, draws[0].shape[1])
