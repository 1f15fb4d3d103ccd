"""Reservation of GPUs, with real processes and a fake driver that reports a given number of GPUs."""

from __future__ import annotations

import multiprocessing
import os
import tempfile
from collections.abc import Callable, Iterator
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import pytest
import torch

from segbench.errors import SegbenchError
from segbench.training.runner.lease import leased

FORK = multiprocessing.get_context("fork")


class Step:
    """A process that holds its devices until `end` is called."""

    def __init__(self, found: int, name: str = "auto", count: int = 1, **variables: str) -> None:
        self._mine, theirs = FORK.Pipe()
        self.process = FORK.Process(target=self._run, args=(theirs, found, name, count, variables))
        self.process.start()

    def _run(self, pipe: Connection, found: int, name: str, count: int, variables: dict[str, str]) -> None:
        os.environ.update(variables)
        torch.cuda.device_count = lambda: found
        with leased(name, count) as devices:
            pipe.send(" ".join(map(str, devices)))
            pipe.recv()

    def devices(self) -> str:
        assert self._mine.poll(20), "has none yet"
        return self._mine.recv()

    def waits(self) -> bool:
        return not self._mine.poll(0.3)

    def end(self) -> None:
        self._mine.send("end")
        self.process.join(20)


@pytest.fixture
def start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Step]]:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    for name in ("CUDA_VISIBLE_DEVICES", "SLURM_JOB_ID"):
        monkeypatch.delenv(name, raising=False)
    steps: list[Step] = []

    def start(*arguments: Any, **variables: str) -> Step:
        steps.append(Step(*arguments, **variables))
        return steps[-1]

    yield start
    for step in steps:
        step.process.kill()
        step.process.join()


def test_two_steps_at_once_get_two_devices_and_a_killed_one_gives_its_own_back(start) -> None:
    first, second = start(2), start(2)
    device = first.devices()
    assert {device, second.devices()} == {"cuda:0", "cuda:1"}
    third = start(2)
    assert third.waits()
    first.process.kill()
    assert third.devices() == device and second.process.is_alive()


def test_a_step_of_two_devices_waits_for_both(start) -> None:
    single = start(3)
    assert single.devices() == "cuda:0"
    both = start(3, "cuda", 3)
    assert both.waits()
    assert start(3, "cuda", 2).devices() == "cuda:1 cuda:2"  # what it waits for is not held from others
    single.end()
    assert both.waits()


def test_steps_that_see_different_devices_do_not_mix_them_up(start) -> None:
    """The only visible GPU, `1`, is cuda:0 in the step."""
    assert start(1, CUDA_VISIBLE_DEVICES="1").devices() == "cuda:0"
    assert start(2, CUDA_VISIBLE_DEVICES="1,0").devices() == "cuda:1"


def test_slurm_jobs_count_their_own_devices_from_zero(start) -> None:
    for job in ("7", "8"):
        assert start(1, CUDA_VISIBLE_DEVICES="0", SLURM_JOB_ID=job).devices() == "cuda:0"


def test_what_cannot_be_had(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    with pytest.raises(SegbenchError, match="gpus: 3 is requested, but 2 are found"), leased("auto", 3):
        pass
    with pytest.raises(SegbenchError, match="is one device, gpus: 2 needs more"), leased("cuda:1", 2):
        pass


def test_without_gpus_the_processor_does_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    with leased("auto", 2) as devices:
        assert devices == [torch.device("cpu")] * 2
