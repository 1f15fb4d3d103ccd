from __future__ import annotations

import numpy as np
import pytest
from sklearn.model_selection import StratifiedGroupKFold

from segbench.data.folds.assign import assign


def study(images: int, patients: int, shares: list[float], seed: int = 0) -> tuple[np.ndarray, list[str]]:
    """Presence of classes with these shares, and patients of unlike numbers of images."""
    rng = np.random.default_rng(seed)
    of = rng.choice(patients, images, p=rng.dirichlet(np.full(patients, 2.0)))
    of[:patients] = np.arange(patients)  # each patient has an image
    return rng.random((images, len(shares))) < shares, [f"p{n}" for n in of]


@pytest.mark.parametrize("seed", range(4))
def test_groups_are_never_torn_and_folds_are_even(seed: int) -> None:
    presence, groups = study(300, 60, [0.9, 0.3, 0.05], seed)
    fold = assign(presence, groups, 5)
    assert all(len({f for f, g in zip(fold, groups) if g == name}) == 1 for name in groups)
    sizes = np.bincount(fold, minlength=5)
    assert sizes.sum() == 300 and sizes.min() >= 50 and sizes.max() <= 70


def test_equal_images_give_equal_folds_in_any_order() -> None:
    presence, groups = study(120, 30, [0.5, 0.1])
    order = np.random.default_rng(1).permutation(120)
    shuffled = assign(presence[order], [groups[i] for i in order], 4)
    assert (shuffled == assign(presence, groups, 4)[order]).all()


def test_a_rare_class_is_in_each_fold() -> None:
    presence = np.zeros((100, 2), bool)
    presence[:, 0] = True
    presence[:5, 1] = True  # five neighbours
    fold = assign(presence, [f"{n:03}" for n in range(100)], 5)
    assert sorted(fold[:5]) == [0, 1, 2, 3, 4]
    assert np.bincount(fold).tolist() == [20] * 5


def test_a_class_in_fewer_groups_than_folds_is_in_as_many_folds_as_possible() -> None:
    presence = np.zeros((40, 1), bool)
    presence[[0, 1, 20]] = True
    groups = [str(n // 4) for n in range(40)]  # two of the three are in one group
    fold = assign(presence, groups, 5)
    assert len(set(fold[presence[:, 0]])) == 2
    assert np.bincount(fold).tolist() == [8] * 5


def test_no_fold_is_empty_even_if_a_group_has_most_images() -> None:
    groups = ["big"] * 50 + ["a", "b", "c"]
    fold = assign(np.ones((53, 1), bool), groups, 4)
    assert sorted(np.bincount(fold)) == [1, 1, 1, 50]


def test_neighbouring_names_are_spread() -> None:
    fold = assign(np.ones((40, 1), bool), [f"{n:03}" for n in range(40)], 2)
    assert 5 < (np.diff(fold) == 0).sum() < 35  # neither alternating nor two halves


def test_too_few_groups() -> None:
    with pytest.raises(ValueError, match="2 groups for 3 folds"):
        assign(np.ones((4, 1), bool), ["a", "a", "b", "b"], 3)


@pytest.mark.parametrize("seed", range(5))
def test_the_balance_is_that_of_scikit_learn(seed: int) -> None:
    """One class an image, as StratifiedGroupKFold needs it: the shares of the classes differ no more."""
    rng = np.random.default_rng(seed)
    labels = rng.choice(3, 240, p=[0.7, 0.25, 0.05])
    _, groups = study(240, 48, [], seed)
    ours = assign(np.eye(3, dtype=bool)[labels], groups, 4)
    theirs = np.zeros(240, int)
    for number, (_, test) in enumerate(StratifiedGroupKFold(4).split(labels, labels, groups)):
        theirs[test] = number

    def spread(fold: np.ndarray) -> float:
        counts = np.array([np.bincount(labels[fold == f], minlength=3) for f in range(4)])
        return float((counts.std(0) / counts.mean(0)).mean())

    assert spread(ours) <= spread(theirs) + 0.1
