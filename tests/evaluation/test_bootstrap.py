from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from fold_files import OPTIONS, write_maps

from segbench.evaluation.bootstrap import difference, image_draws, interval, resampled
from segbench.evaluation.statistics import Metadata

WRONG, HALF, RIGHT = ([[1, 1]], [[0, 0]]), ([[1, 1]], [[1, 0]]), ([[1, 1]], [[1, 1]])


def test_whole_groups_are_drawn() -> None:
    counts = image_draws(Metadata(OPTIONS, {}, tuple(range(5)), ("a", "b", "a", None, None)), 400, 0)
    assert (counts[:, 0] == counts[:, 2]).all()
    units = counts[:, [0, 1, 3, 4]]
    assert (units.sum(1) == 4).all() and np.allclose(units.mean(0), 1, atol=0.12)


def test_draws_without_groups_are_those_of_images() -> None:
    rng = np.random.default_rng(3)
    expected = np.array([np.bincount(rng.integers(0, 6, 6), minlength=6) for _ in range(5)]).tolist()
    for groups in (None, (None,) * 6):
        assert image_draws(Metadata(OPTIONS, {}, tuple(range(6)), groups), 5, 3).tolist() == expected


def test_a_group_of_equal_images_is_worth_one_image(tmp_path: Path) -> None:
    """Each image twice: resampling groups is as uncertain as the single images, resampling images less."""
    once = write_maps(tmp_path / "once.parquet", [WRONG, HALF, RIGHT])
    names = ["a", "b", "c", "a", "b", "c"]
    twice = write_maps(tmp_path / "twice.parquet", [WRONG, HALF, RIGHT] * 2, names)
    assert resampled(twice, "semantic", 200, 1) == pytest.approx(resampled(once, "semantic", 200, 1))
    apart = write_maps(tmp_path / "apart.parquet", [WRONG, HALF, RIGHT] * 2)
    assert resampled(apart, "semantic", 200, 1).std() < 0.85 * resampled(twice, "semantic", 200, 1).std()


def test_one_group_has_no_spread(tmp_path: Path) -> None:
    """IoU of the class is 3/6, and that of the background 0/3, on every resample."""
    found = write_maps(tmp_path / "a.parquet", [WRONG, HALF, RIGHT], ["stack"] * 3)
    assert interval(found, "semantic") == (0.25, 0.25)


def test_a_paired_difference_resamples_groups(tmp_path: Path) -> None:
    better = write_maps(tmp_path / "a.parquet", [RIGHT, RIGHT, RIGHT], ["a", "a", "b"])
    worse = write_maps(tmp_path / "b.parquet", [WRONG, WRONG, WRONG], ["a", "a", "b"])
    assert difference(better, worse, "semantic", samples=50, seed=0) == (1.0, 1.0)
    unlike = write_maps(tmp_path / "c.parquet", [WRONG, WRONG, WRONG], ["a", "b", "b"])
    with pytest.raises(ValueError, match="not on the same images"):
        difference(better, unlike, "semantic", samples=50, seed=0)
