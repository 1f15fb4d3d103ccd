"""Calls in a thread: all of them, in order, a few at a time, and no error is lost."""

from __future__ import annotations

import threading

import pytest

from segbench.prediction.background import AHEAD, Background


def test_calls_are_made_in_order_by_another_thread() -> None:
    made: list[tuple[int, int]] = []
    with Background(lambda number: made.append((number, threading.get_ident()))) as add:
        for number in range(50):
            add(number)
        add.wait()
        assert len(made) == 50
        add(50)
    assert [number for number, _ in made] == list(range(51))
    assert {thread for _, thread in made} != {threading.get_ident()} and len({t for _, t in made}) == 1


def test_few_calls_wait() -> None:
    go, given = threading.Event(), []
    with Background(lambda number: go.wait(10)) as add:
        giving = threading.Thread(target=lambda: [(add(number), given.append(number)) for number in range(9)])
        giving.start()
        giving.join(0.3)
        assert len(given) == AHEAD + 1 and giving.is_alive()  # one is being made
        go.set()
        giving.join(10)
        assert len(given) == 9


@pytest.mark.parametrize("where", ["a call", "wait", "the end"])
def test_an_error_is_raised_once_and_ends_all(where: str) -> None:
    made = []
    error = OSError("the disk is full")

    def call(number: int) -> None:
        if number == 1:
            raise error
        made.append(number)

    with pytest.raises(OSError) as caught, Background(call) as add:
        add(0)
        add(1)
        if where != "the end":
            add._waiting.join()
            add.wait() if where == "wait" else add(2)
    assert caught.value is error and made == [0]


def test_what_waits_is_dropped_after_an_error_outside() -> None:
    go, made = threading.Event(), []

    def call(number: int) -> None:
        go.wait(10)
        made.append(number)

    with pytest.raises(ValueError, match="outside"), Background(call) as add:
        add(0)
        add(1)
        threading.Timer(0.1, go.set).start()
        raise ValueError("outside")
    assert 1 not in made
