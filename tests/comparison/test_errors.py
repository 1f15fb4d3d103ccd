"""False positives and power on simulated scores; benchmarks/comparison_errors.py has the whole table."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats
from simulated import OWN_SD, simulated_contest, simulated_table

from segbench.comparison.pairs import pairs
from segbench.comparison.rank_tests import rank_test

DIFFERENCE_SD = OWN_SD * np.sqrt(2)


def most(expected: float, count: int) -> int:
    """The largest number of hits that chance explains at 0.1 %, if the true share is `expected`."""
    return int(stats.binom.isf(0.001, count, expected))


def parted(networks: int, images: int, seeds: int, effect: float, count: int) -> int:
    rng = np.random.default_rng([networks, images, seeds])
    means = 0.6 + np.arange(networks)[::-1] * effect * DIFFERENCE_SD
    hits = 0
    for _ in range(count):
        made = simulated_contest(rng, means, images, seeds, 0.01 if seeds > 1 else 0)
        hits += bool(pairs(made, made.models, "miou", 0.005)["parted"].any())
    return hits


@pytest.mark.parametrize(("networks", "images", "seeds"), [(2, 10, 1), (2, 30, 3), (6, 20, 1)])
def test_equal_networks_are_rarely_told_apart(networks: int, images: int, seeds: int) -> None:
    assert parted(networks, images, seeds, 0, 120) <= most(0.05, 120)


def test_the_power_is_that_of_students_test() -> None:
    freedom, shift = 29, 0.6 * np.sqrt(30)
    expected = stats.nct.sf(stats.t.ppf(0.975, freedom), freedom, shift)
    count = 120
    assert parted(2, 30, 1, 0.6, count) >= stats.binom.ppf(0.001, count, expected - 0.05)


@pytest.mark.parametrize(("networks", "datasets"), [(2, 8), (4, 6), (4, 15)])
def test_over_datasets_equal_networks_are_rarely_told_apart(networks: int, datasets: int) -> None:
    rng = np.random.default_rng([networks, datasets])
    tables = (simulated_table(rng, np.zeros(networks), datasets) for _ in range(120))
    assert sum(rank_test(table).p < 0.05 for table in tables) <= most(0.05, 120)


def test_over_datasets_a_large_difference_is_found() -> None:
    rng = np.random.default_rng(0)
    means = np.array([0.1, 0, 0])
    tests = [rank_test(simulated_table(rng, means, 10)) for _ in range(30)]
    assert sum(test.p < 0.05 for test in tests) >= 28
    assert sum(test.pairs.loc["n0", "n1"] < 0.05 for test in tests) >= 20
