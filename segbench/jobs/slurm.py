"""What a run on a SLURM cluster needs beyond Snakemake's executor."""

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
"""Longest wait for cancelled jobs; between SIGTERM and SIGKILL lies SLURM's KillWait, 30 s by default."""


def end_jobs(ids: Iterable[str]) -> list[str]:
    """Cancel those of these jobs that wait or run, wait until they have ended, and return them.

    A Snakemake that was killed leaves its jobs behind; they would write the same files as the ones to come.
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


def tell_time_limit() -> None:
    """Set SLURM_JOB_END_TIME where SLURM does not: before 23.02, and within Snakemake's job step."""
    job = os.environ.get("SLURM_JOB_ID")
    if not job or "SLURM_JOB_END_TIME" in os.environ:
        return
    command = ["squeue", "--noheader", "--jobs", job, "--format=%e"]
    try:
        answer = subprocess.run(command, capture_output=True, text=True).stdout
        end = datetime.datetime.fromisoformat(answer.strip())
    except (OSError, ValueError):  # no limit, or no answer: SIGTERM is all the job will hear
        return
    os.environ["SLURM_JOB_END_TIME"] = str(int(end.timestamp()))


def read_cancelled_jobs() -> None:
    """Mend Snakemake's executor (2.8.0), which takes sacct's `CANCELLED by 0` for a job that still runs."""
    plugin: Any = sys.modules.get("snakemake_executor_plugin_slurm")
    if plugin is None:
        return
    query = plugin.query_job_status

    async def query_first_word(command: str, logger: Any) -> tuple[dict[str, str] | None, float | None]:
        states, seconds = await query(command, logger)
        return states and {job: state.split()[0] for job, state in states.items()}, seconds

    plugin.query_job_status = query_first_word


def leave_marks_to_the_caller() -> None:
    """In a job: let only the call of Snakemake that submitted it mark its files as begun and as whole.

    Snakemake has jobs do so too, by half: the mark of a file loses the id by which `end_jobs` finds the job,
    and if the caller was killed, the files count as whole, but made by nobody knows which recipe and code, so
    that no change of these would make them anew.
    """
    from snakemake import persistence

    def started(self: Any, job: Any, external_jobid: str | None = None) -> None: ...

    async def finished(self: Any, job: Any) -> None: ...

    base: Any = persistence.PersistenceBase
    base.started, base.finished = started, finished
