"""Batches that are copied ahead, on the processor: its streams do nothing, all else is as on a GPU."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import pytest
import torch

from segbench.training.runner.ahead import CopiedAhead, copied_ahead

CPU = torch.device("cpu")


@pytest.fixture(autouse=True)
def used(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Addresses of the tensors that the stream of the caller is said to use."""
    seen: list[int] = []
    monkeypatch.setattr(torch.Tensor, "record_stream", lambda one, stream: seen.append(one.data_ptr()))
    return seen


def batch(number: int) -> Any:
    target = {
        "image_id": number,
        "masks": torch.full((2, 3), number),
        "parts": [{"boxes": torch.zeros(0, 4)}, (torch.tensor(number), "name")],
    }
    return torch.full((1, 3), float(number)), [target]


class Loader(Iterator[Any]):
    """Counts what was taken, and in which threads."""

    def __init__(self, count: int, error: Exception | None = None) -> None:
        self.count, self.error = count, error
        self.taken = 0
        self.threads: list[int] = []

    def __next__(self) -> Any:
        self.threads.append(threading.get_ident())
        if self.taken == self.count:
            raise self.error or StopIteration
        self.taken += 1
        return batch(self.taken)


def until(reached: Any) -> None:
    deadline = time.monotonic() + 10
    while not reached():
        assert time.monotonic() < deadline
        time.sleep(0.001)


def test_batches_come_in_order_with_nested_targets(used: list[int]) -> None:
    loader = Loader(4)
    with closing(CopiedAhead(loader, CPU)) as batches:
        found = list(batches)
        with pytest.raises(StopIteration):
            next(batches)
    assert len(found) == 4
    for number, (images, (target,)) in enumerate(found, 1):
        expected_images, (expected,) = batch(number)
        assert torch.equal(images, expected_images) and target["image_id"] == number
        assert torch.equal(target["masks"], expected["masks"])
        assert target["parts"][0]["boxes"].shape == (0, 4)
        assert target["parts"][1] == (torch.tensor(number), "name")
    assert len(used) == 4 * 4
    assert {images.data_ptr() for images, _ in found} < set(used)


def test_one_batch_is_ahead_and_one_in_hand() -> None:
    loader = Loader(10)
    with closing(CopiedAhead(loader, CPU)) as batches:
        assert loader.taken == 0
        for taken in (3, 4):  # one is used, one ahead, one in hand
            next(batches)
            until(lambda: loader.taken == taken)  # noqa: B023
            time.sleep(0.05)
            assert loader.taken == taken and batches._ready.qsize() == 1
    assert batches._thread and not batches._thread.is_alive()
    assert loader.taken == 4


def test_the_loader_ends_with_the_context() -> None:
    ended = []

    def loader() -> Iterator[Any]:
        try:
            yield from map(batch, range(9))
        finally:
            ended.append(True)

    with closing(CopiedAhead(loader(), CPU)) as batches:
        next(batches)
    assert ended


def test_without_a_device_or_processes_batches_come_as_they_are() -> None:
    loader = Loader(1)
    for device, workers in ((CPU, 2), (torch.device("cuda"), 0)):
        with copied_ahead(loader, device, workers) as batches:
            assert batches is loader


def test_the_first_batch_is_loaded_by_the_thread_of_the_caller() -> None:
    """torch sets its handler for dead loader processes in the main thread only."""
    loader = Loader(3)
    with closing(CopiedAhead(loader, CPU)) as batches:
        assert not loader.threads
        list(batches)
    assert loader.threads[0] == threading.get_ident()
    assert len(set(loader.threads[1:])) == 1 and loader.threads[1] != loader.threads[0]


def test_errors_of_the_loader_reach_the_caller_in_their_place() -> None:
    error = RuntimeError("image.png is torn")
    with closing(CopiedAhead(Loader(2, error), CPU)) as batches:
        assert [next(batches)[1][0]["image_id"] for _ in range(2)] == [1, 2]
        for _ in range(2):
            with pytest.raises(RuntimeError) as caught:
                next(batches)
            assert caught.value is error
