"""Status of a step: `state.json` in the folder of the cell or dataset."""

from __future__ import annotations

import logging
import os
import platform
import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from types import FrameType

from segbench.errors import DeviceOutOfMemory, OutOfMemory, SegbenchError
from segbench.files import is_full, write_json
from segbench.jobs.faults import is_passing

EX_TEMPFAIL = 75
"""Exit status of a step that should run again: it saved a checkpoint and stopped, or the disk is full."""
CHECKPOINT = "checkpoint.pt"
"""File from which a step continues, beside its state.json."""


class Again(StrEnum):
    """How a step that has ended early should be tried again."""

    CONTINUE = "continue"
    """It made progress until its time limit. This is no failure, and no attempt is lost."""
    SAME = "same"
    """It was stopped from outside, or lost its node, disk or network."""
    MORE = "more"
    """It may need more memory, or more time."""
    NEVER = "never"
    """It would fail again: an error of the data, the configuration or the code."""


class Stopped(SystemExit):
    """A step saved its work and ends with `EX_TEMPFAIL`. The same call continues it.

    Args:
        reason: why it stopped, in one line.
        at_limit: whether it stopped because its time limit is near, after it made progress.
    """

    def __init__(self, reason: str, at_limit: bool) -> None:
        super().__init__(reason, at_limit)
        self.code = EX_TEMPFAIL
        self.reason, self.at_limit = reason, at_limit


def set_up_logging(log: Path | None) -> None:
    """Write log messages to standard error and append them to the file `log`, if it is given."""
    handlers: list[logging.Handler] = [logging.StreamHandler(sys.stderr)]
    if log is not None:
        log.parent.mkdir(parents=True, exist_ok=True)
        handlers.append(logging.FileHandler(log, mode="a", encoding="utf-8"))
    logging.basicConfig(
        level=logging.INFO,
        format="%(asctime)s %(message)s",
        datefmt="%H:%M:%S",
        handlers=handlers,
        force=True,
    )


class _Terminated(SystemExit):
    """Raised on SIGTERM, with the exit status that a shell reports for it."""


@contextmanager
def _ended_by_sigterm() -> Iterator[None]:
    """Raise an exception in the block on SIGTERM, so that the step is recorded and cleans up.

    A step with its own handler, such as a training, sets it inside the block.
    """
    if threading.current_thread() is not threading.main_thread():  # Python allows handlers there only
        yield
        return
    owner = os.getpid()

    def stop(number: int, _: FrameType | None) -> None:
        if os.getpid() != owner:  # a forked process inherits this handler
            signal.signal(number, signal.SIG_DFL)
            os.kill(os.getpid(), number)
            return
        raise _Terminated(128 + number)

    before = signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _one_line(error: BaseException) -> str:
    """Describe an error in one line for tables; an `OSError` by its file and message, without its number."""
    if isinstance(error, OSError) and error.strerror:
        return f"{error.filename}: {error.strerror}" if error.filename else error.strerror
    return f"{type(error).__name__}: {error}".splitlines()[0]


@contextmanager
def recorded(step: str, folder: Path, log: Path | None) -> Iterator[None]:
    """Keep `folder`/state.json up to date while a step runs in the block.

    Args:
        step: name of the step.
        folder: folder of state.json.
        log: log file of the step, named in state.json.

    Raises:
        SystemExit: the step failed (status 1), or should run again (`EX_TEMPFAIL`). The error is logged, and
            recorded with the way in which the step should be tried again (`Again`).
    """
    path = folder / "state.json"
    state = {
        "step": step,
        "state": "running",
        "reason": "",
        "again": "",
        "job": os.environ.get("SLURM_JOB_ID", ""),
        "log": str(log) if log else "",
        "pid": os.getpid(),
        "node": platform.node(),
        "started": time.time(),
        "ended": None,
    }

    def end(status: str, reason: str, again: Again | str) -> None:
        last = {"state": status, "reason": reason, "again": again, "ended": time.time()}
        try:
            write_json(path, state | last)
        except OSError as error:
            logging.error("%s cannot be written (%s)", path, error)

    try:
        write_json(path, state)
        with _ended_by_sigterm():
            yield
    except _Terminated:
        end("interrupted", "told to stop (SIGTERM)", Again.SAME)
        raise
    except Stopped as stop:
        end("interrupted", stop.reason, Again.CONTINUE if stop.at_limit else Again.SAME)
        raise
    except SystemExit as stop:
        if stop.code:
            end("interrupted", f"stopped with status {stop.code}", Again.SAME)
        else:
            end("ok", "", "")
        raise
    except KeyboardInterrupt:
        end("interrupted", "interrupted by the user", Again.SAME)
        raise
    except SegbenchError as error:
        logging.error("error: %s", error)
        status = "out-of-memory" if isinstance(error, OutOfMemory) else "failed"
        end(status, str(error).splitlines()[0], _again(error))
        raise SystemExit(1) from error
    except BaseException as error:
        if isinstance(error, OSError) and is_full(error):
            logging.error("error: %s: the disk is full\n  remedy: free some space and run again", folder)
            end("interrupted", "the disk is full", Again.SAME)
            raise SystemExit(EX_TEMPFAIL) from error
        again = _again(error)
        end("out-of-memory" if again == Again.MORE else "failed", _one_line(error), again)
        bug = "; this is a bug in segbench or in a network" if again == Again.NEVER else ""
        logging.exception("%s failed%s", step, bug)
        raise SystemExit(1) from error
    else:
        end("ok", "", "")


def _again(error: BaseException) -> Again:
    if isinstance(error, DeviceOutOfMemory):
        return Again.NEVER  # a job cannot request a GPU with more memory
    if isinstance(error, OutOfMemory | MemoryError):
        return Again.MORE
    return Again.SAME if is_passing(error) else Again.NEVER
