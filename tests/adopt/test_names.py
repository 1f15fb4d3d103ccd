from __future__ import annotations

import re

import pytest

from segbench.adopt.names import group_pattern


@pytest.mark.parametrize(
    ("names", "groups"),
    [
        ([f"video{v}image{k}" for v in (1, 3, 12) for k in range(4)], {"video1", "video3", "video12"}),
        ([f"patient{p:02}_{k}" for p in range(3) for k in range(2)], {"patient00", "patient01", "patient02"}),
        ([f"{s}_{k}" for s in (7, 8, 9) for k in range(2)], {"7", "8", "9"}),
        ([f"img{k}" for k in range(9)], None),
        ([f"img{k}_2024" for k in range(9)], None),  # each has a group of its own
        ([f"scan1_{k}" for k in range(9)], None),  # one group
        (["a1_1", "a1_2", "b"], None),
        ([], None),
    ],
)
def test_groups_of_names(names: list[str], groups: set[str] | None) -> None:
    pattern = group_pattern(names)
    if groups is None:
        assert pattern is None
    else:
        assert {re.search(str(pattern), name)[1] for name in names} == groups
