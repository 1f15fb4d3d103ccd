from __future__ import annotations

from collections import Counter

import pytest

from segbench.data.converters.splits import SplitOptions, divided, groups_of
from segbench.errors import SegbenchError

NAMES = [f"patient{p}_{i}" for p in range(10) for i in range(4)]


def test_groups_stay_in_one_split() -> None:
    places = divided(NAMES, SplitOptions(group=r"(patient\d+)_", test_fraction=0.2, val_fraction=0.25))
    assert [place.group for place in places] == [name.split("_")[0] for name in NAMES]
    split_of = dict(zip(NAMES, (place.split for place in places)))
    by_group: dict[str, set[str]] = {}
    for name, split in split_of.items():
        by_group.setdefault(name.split("_")[0], set()).add(split)
    assert all(len(splits) == 1 for splits in by_group.values())
    assert sorted(split_of.values()).count("test") == 8 and sorted(split_of.values()).count("val") == 8


def test_the_choice_depends_on_names_only() -> None:
    options = SplitOptions(test_fraction=0.3, val_fraction=0.1)
    assert divided(NAMES, options) == divided(NAMES[::-1], options)[::-1]


def test_given_splits_are_kept() -> None:
    given = ["test"] * 8 + ["train"] * 32
    grouped = SplitOptions(group=r"(patient\d+)_")
    assert [place.split for place in divided(NAMES, grouped, given)] == given
    places = divided(NAMES, SplitOptions(group=r"(patient\d+)_", val_fraction=0.25), given)
    assert [place.split for place in places[:8]] == given[:8]
    assert Counter(place.split for place in places) == {"test": 8, "train": 24, "val": 8}
    assert len({(place.group, place.split) for place in places}) == 10


def test_only_what_has_no_split_is_divided() -> None:
    given = ["train"] * 8 + [""] * 32
    places = divided(NAMES, SplitOptions(test_fraction=0.5), given)
    assert {place.split for place in places[:8]} == {"train"}
    assert Counter(place.split for place in places[8:]) == {"train": 16, "test": 16}


def test_the_whole_match_is_the_group_without_parentheses() -> None:
    assert groups_of(["ab1", "ab2"], SplitOptions(group="[a-z]+")) == {"ab1": "ab", "ab2": "ab"}


def test_names_without_a_group_are_listed() -> None:
    with pytest.raises(SegbenchError, match="matches nothing in x, y"):
        groups_of(["patient1_0", "x", "y"], SplitOptions(group=r"(patient\d+)_"))


def test_test_patterns_may_not_tear_a_group() -> None:
    with pytest.raises(SegbenchError, match="a part of the group 'patient3'"):
        divided(NAMES, SplitOptions(group=r"(patient\d+)_", test=["patient3_0"]))
