"""What becomes of a job that has ended early: it goes on, is tried again, or has failed.

Snakemake by itself counts attempts: every end but a good one costs one of `retries`, and each further attempt
requests more. A training that needs 70 jobs would end after the fourth, and a mistake in a recipe would be
tried four times. Here the last word of the step (`again` in its state.json) and SLURM's state decide.

Nothing is kept between calls of Snakemake: a new call tries everything again.
"""

from __future__ import annotations

import math
import time
from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from segbench.errors import SegbenchError
from segbench.files import read_json, write_json
from segbench.jobs.state import CHECKPOINT, Again

CONTINUING = "train"
"""Rule whose step continues from a checkpoint."""
OUTSIDE = frozenset({"BOOT_FAIL", "DEADLINE", "NODE_FAIL", "PREEMPTED", "TIMEOUT"})
"""States of a SLURM job that are no fault of its step."""
STATUS = {"OUT_OF_MEMORY": "out-of-memory", "TIMEOUT": "timeout"}
"""Status of a step that could not write its own, by the state of its SLURM job; else failed."""
TOO_SHORT = "the time limit is too short to write a checkpoint; give the rule train more runtime"


def way_on(last_word: str, slurm: str, *, continues: bool, progressed: bool) -> Again:
    """Decide how to go on after a job that has ended early.

    Args:
        last_word: `again` in the state.json of its step; "" if it could not write it.
        slurm: SLURM's state of the job; "" without SLURM.
        continues: whether the step continues from a checkpoint.
        progressed: whether it has written one.
    """
    if last_word in (Again.CONTINUE, Again.MORE, Again.NEVER):
        return Again(last_word)
    if slurm in OUTSIDE and progressed:
        return Again.CONTINUE
    if slurm == "TIMEOUT":
        return Again.NEVER if continues else Again.MORE
    if slurm in OUTSIDE or slurm == "CANCELLED" or last_word == Again.SAME:
        return Again.SAME
    return Again.MORE  # killed without a word, as the kernel does when memory is full


class Retries:
    """Decide about the jobs of one call of Snakemake.

    Args:
        folder_of: returns the folder of a step's state.json by the wildcards of its job; None if it has none.
        slurm_states: last known state of each SLURM job, by its id.
    """

    def __init__(
        self, folder_of: Callable[[Mapping[str, str]], Path | None], slurm_states: Mapping[str, str]
    ) -> None:
        self._folder_of, self._slurm_states = folder_of, slurm_states
        self._began = time.time()
        self._seen: dict[Any, float] = {}  # when a job ended last
        self._checkpoints: dict[Any, int] = {}
        self._losses: Counter[Any] = Counter()
        self._ways: dict[Any, Again] = {}

    def decide(self, job: Any, job_id: str | None, *, started: bool = True) -> Again:
        """Decide about a job that has ended early.

        Args:
            job: Snakemake's job, or group of jobs.
            job_id: SLURM's id of it; None without SLURM, or if SLURM did not accept it.
            started: False if SLURM did not accept it.
        """
        slurm = self._slurm_states.get(job_id or "", "")
        states = self._states(job, job_id)
        last_word = next((state["again"] for state in states.values() if state.get("again")), "")
        continues = any(member.rule.name == CONTINUING for member in _members(job))
        progressed = continues and self._progressed(job)
        way = way_on(last_word, slurm, continues=continues, progressed=progressed) if started else Again.SAME
        self._ways[job] = way
        self._losses[job] = 0 if way is Again.CONTINUE else self._losses[job] + (way is Again.SAME)
        self._seen[job] = time.time()
        ends = job.restart_times < job.attempt
        for folder, state in states.items():
            _note(folder / "state.json", state, ends, way, slurm)
        return way

    def limit(self, job: Any, retries: float) -> float:
        """Return the number of retries that Snakemake may compare with the attempts of a job.

        Args:
            job: Snakemake's job, or group of jobs.
            retries: the number that the user has set.
        """
        match self._ways.get(job):
            case Again.CONTINUE:
                return math.inf
            case Again.NEVER:
                return 0
            case Again.SAME:
                return math.inf if self._losses[job] <= retries else 0
        return retries

    def forget(self, job: Any) -> Again | None:
        """Return what was decided about a job, for the last time."""
        return self._ways.pop(job, None)

    def _folders(self, job: Any) -> set[Path]:
        return {folder for member in _members(job) if (folder := self._folder_of(member.wildcards_dict))}

    def _states(self, job: Any, job_id: str | None) -> dict[Path, dict[str, Any]]:
        """Read the state.json files that this very job wrote, except those of steps that ended well."""
        found = {}
        for folder in self._folders(job):
            with suppress(SegbenchError, KeyError, TypeError):
                state = read_json(folder / "state.json")
                since = self._seen.get(job, self._began)
                own = state["job"] == job_id if job_id else state["started"] > since
                if own and state["state"] != "ok":
                    found[folder] = state
        return found

    def _progressed(self, job: Any) -> bool:
        """Return whether the job has written a checkpoint since its last end."""
        before = self._checkpoints.get(job)
        for folder in self._folders(job):
            with suppress(OSError):
                self._checkpoints[job] = (folder / CHECKPOINT).stat().st_mtime_ns
        return self._checkpoints.get(job) != before


def _members(job: Any) -> list[Any]:
    return list(job.jobs) if job.is_group() else [job]


def _note(path: Path, state: dict[str, Any], ends: bool, way: Again, slurm: str) -> None:
    """Correct the state.json of a step that goes on, or that could not say how it ended."""
    silent = state["state"] == "running"
    short = way is Again.NEVER and silent
    reason = state.get("reason") or (TOO_SHORT if short else f"its job has ended ({slurm or 'killed'})")
    if not ends:
        state = {**state, "state": "pending", "reason": f"waits for its next job; the last one: {reason}"}
    elif silent:
        state = {**state, "state": STATUS.get(slurm, "failed"), "reason": reason, "ended": time.time()}
    else:
        return
    with suppress(OSError):
        write_json(path, state)


def install(retries: Retries) -> None:
    """Make Snakemake (9.27) ask `retries` about each job that has ended early.

    Its public settings know a number of retries for a rule only.
    """
    from snakemake.jobs import GroupJob, Job
    from snakemake.scheduling.job_scheduler import JobScheduler
    from snakemake_interface_executor_plugins.executors.base import AbstractExecutor
    from snakemake_interface_executor_plugins.executors.remote import RemoteExecutor

    kinds: list[Any] = [Job, GroupJob]
    scheduler: Any = JobScheduler
    executor: Any = AbstractExecutor
    report, handle = executor.report_job_error, scheduler._handle_error

    def report_job_error(self: Any, info: Any, *arguments: Any, **options: Any) -> None:
        started = info.external_jobid is not None or not isinstance(self, RemoteExecutor)
        if retries.decide(info.job, info.external_jobid, started=started) is Again.CONTINUE:
            names = " ".join("/".join(member.wildcards_dict.values()) for member in _members(info.job))
            self.logger.info(f"{names}: the time of this job is over; the training goes on in another one")
            self.workflow.scheduler.error_callback(info.job)  # frees what it used
        else:
            report(self, info, *arguments, **options)

    def handle_error(self: Any, job: Any, *arguments: Any, **options: Any) -> None:
        attempt = job.attempt
        handle(self, job, *arguments, **options)
        if retries.forget(job) in (Again.CONTINUE, Again.SAME):
            job.attempt = attempt  # the next job requests what the last one did

    def limited(number: Any) -> property:
        return property(lambda job: retries.limit(job, number(job)))

    for kind in kinds:
        kind.restart_times = limited(kind.restart_times.fget)
    executor.report_job_error, scheduler._handle_error = report_job_error, handle_error
