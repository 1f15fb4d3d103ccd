"""What became of a step: `state.json` in the folder of the cell or dataset, for tables and people."""

from __future__ import annotations

import logging
import os
import platform
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

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

    def end(outcome: str, reason: str) -> None:
        try:
            write_json(path, {**state, "state": outcome, "reason": reason, "ended": time.time()})
        except OSError as error:
            logging.error("%s cannot be written (%s)", path, error)

    try:
        write_json(path, state)
        yield
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
        end("out-of-memory" if memory else "failed", f"{type(error).__name__}: {error}".splitlines()[0])
        logging.exception("%s failed; this is a defect of segbench or of a network", step)
        raise SystemExit(1) from error
    else:
        end("ok", "")
