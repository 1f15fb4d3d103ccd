from __future__ import annotations

import numpy as np
from fold_files import OPTIONS

from segbench.evaluation.bootstrap import image_draws
from segbench.evaluation.statistics import Metadata


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
