"""What becomes of a job that has ended early, without Snakemake and SLURM."""

from __future__ import annotations

import json
import os
import time
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from segbench.files import read_json
from segbench.jobs.retries import Retries, way_on
from segbench.jobs.state import Again

CONTINUE, SAME, MORE, NEVER = Again.CONTINUE, Again.SAME, Again.MORE, Again.NEVER


@pytest.mark.parametrize(
    ("last_word", "slurm", "progressed", "training", "other"),
    [
        (CONTINUE, "FAILED", True, CONTINUE, CONTINUE),
        (NEVER, "FAILED", True, NEVER, NEVER),
        (MORE, "FAILED", True, MORE, MORE),
        ("", "OUT_OF_MEMORY", True, MORE, MORE),
        ("", "FAILED", True, MORE, MORE),  # as after the kernel's SIGKILL
        ("", "", False, MORE, MORE),
        ("", "NODE_FAIL", False, SAME, SAME),
        (SAME, "PREEMPTED", False, SAME, SAME),
        (SAME, "CANCELLED", False, SAME, SAME),
        (SAME, "", False, SAME, SAME),
        ("", "TIMEOUT", False, NEVER, MORE),
    ],
)
def test_what_follows_an_end(
    last_word: str, slurm: str, progressed: bool, training: Again, other: Again
) -> None:
    assert way_on(last_word, slurm, continues=True, progressed=progressed) is training
    assert way_on(last_word, slurm, continues=False, progressed=False) is other


@pytest.mark.parametrize("slurm", ["NODE_FAIL", "PREEMPTED", "TIMEOUT"])
def test_a_training_that_is_ended_from_outside_goes_on_if_it_has_progressed(slurm: str) -> None:
    assert way_on("", slurm, continues=True, progressed=True) is CONTINUE
    assert way_on(SAME, slurm, continues=True, progressed=True) is CONTINUE


@dataclass(eq=False)
class Job:
    """What is used of Snakemake's job, and how its scheduler counts attempts."""

    retries: Retries
    number: int = 3
    name: str = "train"
    attempt: int = 1
    rule: Any = field(init=False)
    wildcards_dict = {"dataset": "toy"}

    def __post_init__(self) -> None:
        self.rule = SimpleNamespace(name=self.name)

    def is_group(self) -> bool:
        return False

    @property
    def restart_times(self) -> float:
        return self.retries.limit(self, self.number)

    def ends(self, job_id: str | None) -> bool:
        """End once; return whether it is tried again."""
        self.retries.decide(self, job_id)
        again = self.restart_times > self.attempt - 1
        if self.retries.forget(self) not in (CONTINUE, SAME):
            self.attempt += again
        return again


class Cell:
    """A cell with its state.json and checkpoint, and the jobs that worked on it."""

    def __init__(self, folder: Path, **options: Any) -> None:
        self.folder, self.slurm = folder, {}
        self.job = Job(Retries(lambda wildcards: folder, self.slurm), **options)
        self.jobs = 0

    def ends(self, again: str, slurm: str, *, saved: bool = False, own: bool = True) -> bool:
        self.jobs += 1
        self.slurm[str(self.jobs)] = slurm
        state = {
            "step": "train",
            "state": "interrupted" if again else "running",
            "reason": "",
            "again": again,
        }
        state |= {"job": str(self.jobs if own else 0), "started": time.time()}
        (self.folder / "state.json").write_text(json.dumps(state))
        if saved:
            (self.folder / "checkpoint.pt").touch()
            os.utime(self.folder / "checkpoint.pt", ns=(self.jobs, self.jobs))
        return self.job.ends(str(self.jobs))

    @property
    def state(self) -> dict[str, Any]:
        return read_json(self.folder / "state.json")


def test_reaching_the_limit_costs_no_attempt_and_asks_for_no_more(tmp_path: Path) -> None:
    cell = Cell(tmp_path)
    assert all(cell.ends(CONTINUE, "FAILED", saved=True) for _ in range(70))
    assert all(cell.ends(SAME, "TIMEOUT", saved=True) for _ in range(5))
    assert all(cell.ends("", "NODE_FAIL", saved=True) for _ in range(5))
    assert cell.job.attempt == 1
    assert cell.state["state"] == "pending"
    assert cell.state["reason"] == "waits for its next job; the last one: its job has ended (NODE_FAIL)"


def test_a_failure_ends_at_once(tmp_path: Path) -> None:
    assert not Cell(tmp_path).ends(NEVER, "FAILED", saved=True)


def test_only_memory_makes_the_next_job_larger(tmp_path: Path) -> None:
    cell = Cell(tmp_path)
    attempts = []
    for again, slurm in ((SAME, "CANCELLED"), ("", "OUT_OF_MEMORY"), (CONTINUE, "FAILED"), (MORE, "FAILED")):
        assert cell.ends(again, slurm, saved=True)
        attempts.append(cell.job.attempt)
    assert attempts == [1, 2, 2, 3]
    assert cell.ends("", "FAILED") and not cell.ends("", "FAILED")


def test_losses_without_progress_are_counted(tmp_path: Path) -> None:
    cell = Cell(tmp_path)
    assert [cell.ends("", "NODE_FAIL") for _ in range(3)] == [True] * 3
    assert cell.ends("", "NODE_FAIL", saved=True)
    assert [cell.ends(SAME, "CANCELLED", saved=True) for _ in range(3)] == [True] * 3
    assert not cell.ends("", "NODE_FAIL")
    assert cell.job.attempt == 1
    assert cell.state["state"] == "failed" and "NODE_FAIL" in cell.state["reason"]


def test_a_limit_that_is_too_short_for_a_checkpoint_says_so(tmp_path: Path) -> None:
    cell = Cell(tmp_path)
    assert cell.ends("", "TIMEOUT", saved=True)
    assert not cell.ends("", "TIMEOUT")
    assert cell.state["state"] == "timeout"
    assert "the time limit is too short to write a checkpoint" in cell.state["reason"]


def test_the_last_word_of_an_earlier_job_does_not_count(tmp_path: Path) -> None:
    """This job was lost before its step began."""
    cell = Cell(tmp_path)
    assert cell.ends(NEVER, "NODE_FAIL", own=False)
    assert cell.state["again"] == NEVER  # not overwritten
    local = Job(cell.job.retries, number=0)
    assert not local.ends(None)


def test_a_job_that_was_not_accepted_asks_for_no_more(tmp_path: Path) -> None:
    cell = Cell(tmp_path)
    assert cell.job.retries.decide(cell.job, None, started=False) is SAME
    assert cell.job.retries.decide(cell.job, None) is MORE


def test_on_this_machine_a_step_that_stopped_at_its_limit_goes_on_without_retries(tmp_path: Path) -> None:
    cell = Cell(tmp_path, number=0)
    for _ in range(5):
        time.sleep(0.001)
        state = {
            "job": "",
            "started": time.time(),
            "state": "interrupted",
            "again": CONTINUE,
            "reason": "limit",
        }
        (tmp_path / "state.json").write_text(json.dumps(state))
        assert cell.job.ends(None)
    state["again"] = NEVER
    (tmp_path / "state.json").write_text(json.dumps(state | {"started": time.time()}))
    assert not cell.job.ends(None)
    assert not cell.job.ends(None)  # the same state.json again: from an earlier job
