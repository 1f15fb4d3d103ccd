from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest

from segbench.comparison.letters import letters


def matrix(count: int, *parted: tuple[int, int]) -> np.ndarray:
    result = np.zeros((count, count), bool)
    for i, j in parted:
        result[i, j] = result[j, i] = True
    return result


def test_known_displays() -> None:
    assert letters(matrix(3)) == ["a", "a", "a"]
    assert letters(matrix(3, (0, 2))) == ["a", "ab", "b"]
    assert letters(matrix(3, (0, 1), (0, 2), (1, 2))) == ["a", "b", "c"]
    assert letters(matrix(4, (0, 2), (0, 3), (1, 3))) == ["a", "ab", "bc", "c"]


@pytest.mark.parametrize("seed", range(20))
def test_a_letter_in_common_means_not_parted(seed: int) -> None:
    rng = np.random.default_rng(seed)
    pairs = [pair for pair in combinations(range(8), 2) if rng.random() < 0.4]
    found = letters(matrix(8, *pairs))
    assert "a" in found[0]
    for i, j in combinations(range(8), 2):
        assert bool(set(found[i]) & set(found[j])) == ((i, j) not in pairs)


def test_more_than_26_groups() -> None:
    found = letters(~np.eye(28, dtype=bool))
    assert len(set(found)) == 28 and found[25:] == ["z", "(27)", "(28)"]
