"""The search for a number of parts that fits, with a made-up memory."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from segbench.errors import OutOfMemory
from segbench.probe.fitting import numbers_of_parts, smallest_that_fits


class Machine:
    """Holds `room` images in a forward pass."""

    def __init__(self, batch: int, room: int) -> None:
        self.batch, self.room, self.tried = batch, room, list[int]()

    def __call__(self, parts: int) -> str:
        self.tried.append(parts)
        if -(-self.batch // parts) > self.room:
            raise OutOfMemory("out of memory (made up)")
        return f"{parts} parts"


def test_what_fits_is_tried_once() -> None:
    machine = Machine(16, 16)
    assert smallest_that_fits(machine, 16, 2) == (2, "2 parts")
    assert machine.tried == [2]


@settings(max_examples=30)
@given(st.integers(1, 40), st.integers(1, 40), st.integers(1, 40))
def test_the_smallest_number_that_fits_is_found(batch: int, room: int, first: int) -> None:
    first = min(first, batch)
    parts, _ = smallest_that_fits(Machine(batch, room), batch, first)
    assert -(-batch // parts) <= room
    assert parts == first or -(-batch // (parts - 1)) > room


def test_a_machine_without_room_for_one_image_is_an_error() -> None:
    with pytest.raises(OutOfMemory, match="a single image"):
        smallest_that_fits(Machine(4, 0), 4, 1)


def test_numbers_that_split_alike_are_tried_once() -> None:
    assert list(numbers_of_parts(16, 1)) == [1, 2, 3, 4, 6, 8, 16]
    assert list(numbers_of_parts(16, 5)) == [5, 6, 8, 16]
    assert list(numbers_of_parts(1, 1)) == [1]
