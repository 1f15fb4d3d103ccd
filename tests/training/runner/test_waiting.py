from __future__ import annotations

import logging

import pytest

from segbench.training.runner import waiting
from segbench.training.runner.waiting import Waiting, workers_to_keep_up


@pytest.mark.parametrize(
    ("workers", "waited", "total", "wanted"),
    [(0, 30, 100, 1), (0, 75, 100, 3), (4, 43, 100, 8), (4, 1, 100, 5), (2, 90, 100, 20)],
)
def test_workers_that_keep_up(workers: int, waited: float, total: float, wanted: int) -> None:
    """Four processes that feed 57 % of what is eaten: 4 / 0.57 = 7.02."""
    assert workers_to_keep_up(workers, waited, total) == wanted


class Clock:
    """Time passes when a batch is loaded, and between batches."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now

    def batches(self, load: float) -> object:
        while True:
            self.now += load
            yield "batch"


def said(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, load: float, processors: int
) -> str:
    monkeypatch.setattr(waiting.os, "sched_getaffinity", lambda _: range(processors))
    caplog.set_level(logging.INFO)
    clock = Clock()
    batches = Waiting(clock.batches(load), 4, clock)  # type: ignore[arg-type,var-annotated]
    clock.now += 500  # before the first batch
    for _ in range(300):
        assert next(batches) == "batch"
        clock.now += 0.57
    return caplog.text


def test_a_slow_loader_is_reported_once(monkeypatch, caplog) -> None:
    text = said(monkeypatch, caplog, 0.43, 16)
    assert text.count("waiting for data") == 1
    assert "waiting for data 43 % of the time; workers: 8 would help (now 4)" in text


def test_more_workers_than_processors_are_not_proposed(monkeypatch, caplog) -> None:
    assert "8 workers would be needed (now 4), but there are 2 processors" in said(
        monkeypatch, caplog, 0.43, 2
    )


def test_a_fast_loader_is_not_mentioned(monkeypatch, caplog) -> None:
    assert "waiting" not in said(monkeypatch, caplog, 0.02, 16)


def test_the_end_of_the_batches_is_passed_on() -> None:
    with pytest.raises(StopIteration):
        next(Waiting(iter(()), 0))
