"""Differences of two sets of cells, with what they are paired by."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
from counted import write_counts
from hypothesis import given
from hypothesis import strategies as st

from segbench.comparison.differences import _error, same_images
from segbench.evaluation.intervals import of_difference

SCORES = st.integers(0, 2**32 - 1).map(lambda seed: np.random.default_rng(seed).random((3, 21)))


@given(a=SCORES, b=SCORES, same_data=st.booleans(), same_seeds=st.booleans())
def test_the_order_only_turns_the_sign(
    a: np.ndarray, b: np.ndarray, same_data: bool, same_seeds: bool
) -> None:
    one, two = _error(a, b, same_data, same_seeds), _error(b, a, same_data, same_seeds)
    assert one[0] == pytest.approx(-two[0]) and one[1:] == pytest.approx(two[1:])
    assert one[0] == pytest.approx(b[:, 0].mean() - a[:, 0].mean())


@given(a=SCORES)
def test_equal_scores_have_no_error_if_they_are_paired(a: np.ndarray) -> None:
    assert _error(a, a, True, True)[:2] == (0, 0)
    _, by_images, _ = _error(a, a, True, False)
    assert by_images == pytest.approx(math.sqrt(2 * a[:, 0].var(ddof=1) / 3))  # the seeds are left


@given(a=SCORES, b=SCORES)
def test_independent_data_adds_the_variances(a: np.ndarray, b: np.ndarray) -> None:
    def variance(side: np.ndarray) -> float:
        jack = side[:, 1:].mean(0)
        images = (len(jack) - 1) / len(jack) * ((jack - jack.mean()) ** 2).sum()
        return float(images + side[:, 0].var(ddof=1) / len(side))

    assert _error(a, b, False, False)[1] == pytest.approx(math.sqrt(variance(a) + variance(b)))


def test_images_are_the_same_by_id_group_and_name(tmp_path: Path) -> None:
    found = np.linspace(0.5, 0.9, 4)
    one, again = (write_counts(tmp_path / name, found) for name in ("one", "again"))
    fewer = write_counts(tmp_path / "fewer", found[:3])
    grouped = write_counts(tmp_path / "grouped", found, groups=["p", "p", "q", "q"])
    assert same_images(one, again, "semantic")
    assert not same_images(one, fewer, "semantic") and not same_images(one, grouped, "semantic")


def test_the_interval_contains_the_true_difference() -> None:
    """Two sides with the same expected score on 30 images: 5 % of the intervals exclude 0."""
    rng, missed = np.random.default_rng(1), {True: 0, False: 0}
    for _ in range(400):
        difficulty = rng.normal(0, 0.1, 30)
        for paired in missed:
            sides = [0.7 + (difficulty if paired else rng.normal(0, 0.1, 30)) for _ in range(2)]
            sides = [side + rng.normal(0, 0.03, 30) for side in sides]
            scores = [np.array([[s.mean(), *((s.sum() - s) / 29)]]) for s in sides]
            value, error, freedom = _error(*scores, paired, paired)
            low, high = of_difference(value, error, freedom) or (0, 0)
            missed[paired] += not low <= 0 <= high
    assert max(missed.values()) <= 400 * 0.05 + 3 * math.sqrt(400 * 0.05 * 0.95)
