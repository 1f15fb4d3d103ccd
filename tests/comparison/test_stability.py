from __future__ import annotations

import numpy as np
import pytest

from segbench.comparison import stability


def test_seeds_vary_as_much_as_their_mean_does() -> None:
    """The variance over draws is the sample variance / S, for any number of seeds."""
    for count in (2, 3, 5):
        seeds = np.random.default_rng(count).normal(size=(count, 1))
        draws = np.repeat(seeds, 20_000, 1)
        means = stability.mean_scores([draws], stability.seed_weights([count], 20_000, 0))[0]
        assert means.mean() == pytest.approx(seeds.mean(), abs=0.03)
        assert means.var() == pytest.approx(seeds.var(ddof=1) / count, rel=0.05)


def test_one_seed_varies_with_the_images_only() -> None:
    draws = np.random.default_rng(0).normal(size=(1, 50))
    assert stability.mean_scores([draws], stability.seed_weights([1], 50, 0))[0] == pytest.approx(draws[0])


def test_ties_share_the_first_place() -> None:
    ranks = stability.ranks(np.array([[0.9, 0.5, 0.5], [0.8, 0.5, 0.7], [0.1, 0.1, 0.1]]))
    assert ranks[:, 1].tolist() == [1.5, 1.5, 3]
    assert stability.share_of_first(ranks) == pytest.approx([(1 + 0.5) / 3, (0.5 + 1) / 3, 0])


def test_probability_of_improvement() -> None:
    """a wins 3 of 4 pairs of seeds against b, and ties with itself."""
    a, b = np.array([[0.6], [0.8]]), np.array([[0.5], [0.7]])
    ones = [np.ones((2, 1))] * 3
    assert stability.improvement([a, b, a], ones)[:, 0] == pytest.approx([0.75, 0.5, 0.25])
