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
from pathlib import Path
from types import FrameType

from segbench.errors import OutOfMemory, SegbenchError
from segbench.files import is_full, write_json

EX_TEMPFAIL = 75
"""Exit status of a step to run again: it was told to stop and saved a checkpoint, or the disk is full."""


def set_up_logging(log: Path | None) -> None:
    """Messages to standard error and, where one is given, to the log file of the step."""
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
    """SIGTERM came; the status is the one that a shell gives."""


@contextmanager
def _ended_by_sigterm() -> Iterator[None]:
    """While the block runs, SIGTERM ends it by an exception, so that it is recorded and cleaned up.

    A step with a handler of its own, such as a training, sets it within.
    """
    if threading.current_thread() is not threading.main_thread():  # Python allows handlers nowhere else
        yield
        return
    owner = os.getpid()

    def stop(number: int, _: FrameType | None) -> None:
        if os.getpid() != owner:  # a process that was forked, which inherits this
            signal.signal(number, signal.SIG_DFL)
            os.kill(os.getpid(), number)
            return
        raise _Terminated(128 + number)

    before = signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def in_words(error: BaseException) -> str:
    """One line for tables; of a system's error the file and what is wrong, not its number."""
    if isinstance(error, OSError) and error.strerror:
        return f"{error.filename}: {error.strerror}" if error.filename else error.strerror
    return f"{type(error).__name__}: {error}".splitlines()[0]


@contextmanager
def recorded(step: str, folder: Path, log: Path | None) -> Iterator[None]:
    """Keep `folder`/state.json up to date around a step. Errors are logged, recorded, and end the process."""
    path = folder / "state.json"
    state = {
        "step": step,
        "state": "running",
        "reason": "",
        "log": str(log) if log else "",
        "pid": os.getpid(),
        "node": platform.node(),
        "started": time.time(),
        "ended": None,
    }

    def end(status: str, reason: str) -> None:
        try:
            write_json(path, {**state, "state": status, "reason": reason, "ended": time.time()})
        except OSError as error:
            logging.error("%s cannot be written (%s)", path, error)

    try:
        write_json(path, state)
        with _ended_by_sigterm():
            yield
    except _Terminated:
        end("interrupted", "told to stop (SIGTERM)")
        raise
    except SystemExit as stop:
        end(
            "ok" if not stop.code else "interrupted",
            "" if not stop.code else f"stopped with status {stop.code}",
        )
        raise
    except KeyboardInterrupt:
        end("interrupted", "interrupted by the user")
        raise
    except SegbenchError as error:
        logging.error("error: %s", error)
        end("out-of-memory" if isinstance(error, OutOfMemory) else "failed", str(error).splitlines()[0])
        raise SystemExit(1) from error
    except BaseException as error:
        if isinstance(error, OSError) and is_full(error):
            logging.error("error: %s: the disk is full\n  remedy: free some space and run again", folder)
            end("interrupted", "the disk is full")
            raise SystemExit(EX_TEMPFAIL) from error
        memory = isinstance(error, MemoryError)
        end("out-of-memory" if memory else "failed", in_words(error))
        logging.exception("%s failed; this is a defect of segbench or of a network", step)
        raise SystemExit(1) from error
    else:
        end("ok", "")
