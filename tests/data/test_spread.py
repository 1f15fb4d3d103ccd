from __future__ import annotations

from itertools import pairwise
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from segbench.data.dataset import ImageRecord
from segbench.data.spread import spread_evenly


@given(count=st.integers(1, 300), most=st.integers(1, 300))
def test_images_are_spread_over_the_split(count: int, most: int) -> None:
    images = [ImageRecord(i, Path(), str(i), ".png") for i in range(1, count + 1)]
    found = [record.id for record in spread_evenly(images, most)]
    assert len(found) == min(count, most) and found == sorted(set(found)) and found[0] == 1
    assert most == 1 or found[-1] == count
    steps = [b - a for a, b in pairwise(found)]
    assert not steps or max(steps) - min(steps) <= 1
