"""Additions to Snakemake's executor for runs on a SLURM cluster."""

from __future__ import annotations

import datetime
import os
import subprocess
import sys
import time
from collections.abc import Iterable
from typing import Any

from segbench.errors import SegbenchError

ENDING_SECONDS = 300
"""Longest wait for cancelled jobs. SLURM sends SIGKILL after its KillWait, 30 s by default."""


def end_jobs(ids: Iterable[str]) -> list[str]:
    """Cancel jobs that are queued or running, and wait until they have ended.

    A killed Snakemake leaves its jobs behind. They would write the same files as the jobs of the next call.

    Args:
        ids: SLURM job ids.

    Returns:
        Ids of the jobs that were cancelled.

    Raises:
        SegbenchError: the jobs do not end within `ENDING_SECONDS`, or squeue fails.
    """
    if not (left := sorted(set(ids) & _queued())):
        return []
    subprocess.run(["scancel", *left], check=True)
    deadline = time.monotonic() + ENDING_SECONDS
    while still := sorted(set(left) & _queued()):
        if time.monotonic() > deadline:
            raise SegbenchError(
                f"jobs {', '.join(still)} of an earlier run do not end",
                where="squeue",
                remedy="cancel them by hand, then start again",
            )
        time.sleep(1)
    return left


def _queued() -> set[str]:
    try:
        done = subprocess.run(["squeue", "--me", "--noheader", "--format=%i"], capture_output=True, text=True)
    except OSError as error:
        raise SegbenchError(f"cannot be run ({error.strerror})", where="squeue") from error
    if done.returncode:
        raise SegbenchError(f"fails: {done.stderr.strip()}", where="squeue")
    return set(done.stdout.split())


def set_job_end_time() -> None:
    """Set SLURM_JOB_END_TIME (Unix time) if SLURM did not: before 23.02, and in Snakemake's job step."""
    job = os.environ.get("SLURM_JOB_ID")
    if not job or "SLURM_JOB_END_TIME" in os.environ:
        return
    command = ["squeue", "--noheader", "--jobs", job, "--format=%e"]
    try:
        answer = subprocess.run(command, capture_output=True, text=True).stdout
        end = datetime.datetime.fromisoformat(answer.strip())
    except (OSError, ValueError):  # no limit or no answer; SIGTERM still tells the job to stop
        return
    os.environ["SLURM_JOB_END_TIME"] = str(int(end.timestamp()))


def watch_states(requeue: bool) -> dict[str, str]:
    """Return a dict that will hold the last state of each SLURM job, by its id.

    Fix two states that Snakemake's executor (2.8.0) treats as those of a running job: sacct's `CANCELLED by
    0`, and `PREEMPTED`, which is final unless SLURM requeues jobs.

    Args:
        requeue: whether SLURM requeues jobs (`slurm-requeue`).
    """
    seen: dict[str, str] = {}
    plugin: Any = sys.modules.get("snakemake_executor_plugin_slurm")
    if plugin is None:
        return seen
    query = plugin.query_job_status
    final = {} if requeue else {"PREEMPTED": "CANCELLED"}

    async def query_first_word(command: str, logger: Any) -> tuple[dict[str, str] | None, float | None]:
        states, seconds = await query(command, logger)
        first = states and {job: state.split()[0] for job, state in states.items()}
        seen.update(first or {})
        return first and {job: final.get(state, state) for job, state in first.items()}, seconds

    plugin.query_job_status = query_first_word
    return seen


def disable_job_marks() -> None:
    """Stop Snakemake inside a job from marking output files as started and finished.

    The Snakemake that submitted the job marks them. The marks of the job are incomplete: they lack the job id
    by which `end_jobs` finds it. If the submitting Snakemake was killed, they record files as finished
    without params, and a later change of recipe or code would not make these files again.
    """
    from snakemake import persistence

    def started(self: Any, job: Any, external_jobid: str | None = None) -> None: ...

    async def finished(self: Any, job: Any) -> None: ...

    base: Any = persistence.PersistenceBase
    base.started, base.finished = started, finished
