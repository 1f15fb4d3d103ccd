from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
from fold_files import OPTIONS, write_maps
from scipy import stats

from segbench.evaluation.intervals import difference, interval, of_difference, of_score
from segbench.evaluation.jackknife import covariance, freedom, left_out
from segbench.evaluation.statistics import Metadata

WRONG, HALF, RIGHT = ([[1, 1]], [[0, 0]]), ([[1, 1]], [[1, 0]]), ([[1, 1]], [[1, 1]])


def width(bounds: tuple[float, float] | None) -> float:
    assert bounds is not None
    return bounds[1] - bounds[0]


def test_the_jackknife_of_a_mean_is_its_standard_error() -> None:
    values = np.random.default_rng(0).normal(size=(2, 30))
    without = left_out(Metadata(OPTIONS, {}, tuple(range(30))))
    means = values @ without.T / without.sum(1)
    assert covariance(means) == pytest.approx(np.cov(values) / 30)


def test_the_interval_of_a_mean_is_students() -> None:
    values = np.random.default_rng(1).normal(0.1, 1, 12)
    expected = stats.t.interval(0.95, 11, values.mean(), values.std(ddof=1) / math.sqrt(12))
    assert of_difference(values.mean(), values.std(ddof=1) / math.sqrt(12), 11) == pytest.approx(expected)


def test_the_interval_of_a_score_stays_between_0_and_1() -> None:
    low, high = of_score(0.98, 0.03, 5) or (math.nan, math.nan)
    assert 0 < low < 0.98 < high < 1 and 0.98 - low > high - 0.98
    assert of_score(1, 0, 5) == (1, 1)
    assert of_score(math.nan, 0.1, 5) is None and of_score(0.5, math.nan, 5) is None


def test_an_error_that_few_images_decide_is_less_certain() -> None:
    alike, few = np.tile([-1.0, 1.0], 15), np.zeros(30)
    few[:2] = 1, -1
    assert freedom(alike) == 29
    assert freedom(few) == pytest.approx(2 * 29 / (30 * 2 / 4 - 1))
    assert freedom(np.zeros(30)) == 29


def test_whole_groups_and_at_most_so_many_blocks_are_left_out() -> None:
    grouped = left_out(Metadata(OPTIONS, {}, tuple(range(5)), ("a", "b", "a", None, None)))
    assert grouped.shape == (4, 5) and (grouped[:, 0] == grouped[:, 2]).all()
    many = left_out(Metadata(OPTIONS, {}, tuple(range(1000))), 30)
    assert many.shape == (30, 1000) and ((many == 0).sum(0) == 1).all()
    assert set((many == 0).sum(1)) == {33, 34}


def test_a_group_of_equal_images_is_worth_one_image(tmp_path: Path) -> None:
    once = write_maps(tmp_path / "once.parquet", [WRONG, HALF, RIGHT])
    names = ["a", "b", "c", "a", "b", "c"]
    twice = write_maps(tmp_path / "twice.parquet", [WRONG, HALF, RIGHT] * 2, names)
    assert interval(twice, "semantic") == pytest.approx(interval(once, "semantic"))
    apart = write_maps(tmp_path / "apart.parquet", [WRONG, HALF, RIGHT] * 2)
    assert width(interval(apart, "semantic")) < 0.85 * width(interval(twice, "semantic"))


def test_one_group_tells_nothing_of_others(tmp_path: Path) -> None:
    assert interval(write_maps(tmp_path / "a.parquet", [WRONG, HALF], ["stack"] * 2), "semantic") is None


def test_a_paired_difference_leaves_out_groups(tmp_path: Path) -> None:
    better = write_maps(tmp_path / "a.parquet", [RIGHT, RIGHT, RIGHT], ["a", "a", "b"])
    worse = write_maps(tmp_path / "b.parquet", [WRONG, WRONG, WRONG], ["a", "a", "b"])
    assert difference(better, worse, "semantic") == (1.0, 1.0)
    unlike = write_maps(tmp_path / "c.parquet", [WRONG, WRONG, WRONG], ["a", "b", "b"])
    with pytest.raises(ValueError, match="not on the same images"):
        difference(better, unlike, "semantic")
