"""How far a running cell is, from the files that its step writes."""

from __future__ import annotations

import csv
import io
import math
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from segbench.report.cell_status import CellStatus

TAIL_BYTES = 8192
"""Bytes at the end of a history or log in which the newest rows or the last line are searched."""


@dataclass
class Progress:
    """Numbers are NaN where they are not known."""

    step: str
    iteration: int | None = None
    """None before the first iteration, and in other steps than the training."""
    total: int | None = None
    """Number of iterations, if it is known."""
    loss: float = math.nan
    validation: float = math.nan
    """Validation loss, of the newest one."""
    score: float = math.nan
    """Primary metric of the newest validation."""
    images_per_second: float = math.nan
    left: float = math.nan
    """Seconds until the training ends."""
    last_sign: float = math.nan
    """Seconds since a file was written."""
    line: str = ""
    """Last line of the log."""


def progress(folder: Path, one: CellStatus, total: int | None) -> Progress:
    """Return how far a cell is.

    Args:
        folder: folder of the cell.
        one: its status.
        total: number of iterations of its training, if it is known.
    """
    history = folder / "history.partial.csv"
    found = Progress(one.step, total=total, line=last_line(one.log))
    rows = _newest_rows(history) if one.step == "train" else []
    if rows:
        first, last = rows[0], rows[-1]
        found.iteration, found.loss = int(last["iteration"]), _number(last.get("total"))
        found.images_per_second = _number(last.get("images_per_second"))
        for row in rows:  # the newest value of each
            found.validation = _number(row.get("validation"), found.validation)
            found.score = _number(row.get("validation_score"), found.score)
        # from the first of these rows on; with a single row, from the start of the training
        steps = found.iteration - int(first["iteration"]) or found.iteration
        seconds = _number(last["seconds"]) - (_number(first["seconds"]) if len(rows) > 1 else 0.0)
        found.left = (total - found.iteration) * seconds / steps if total else math.nan
    signs = [path.stat().st_mtime for path in (history, one.log) if path and path.exists()]
    if signs:
        found.last_sign = max(0.0, time.time() - max(signs))
    return found


def _number(text: str | None, otherwise: float = math.nan) -> float:
    return float(text) if text else otherwise


def _newest_rows(path: Path) -> list[dict[str, Any]]:
    """Return the complete rows at the end of a history; empty if there are none yet."""
    lines = _tail(path).splitlines(keepends=True)
    with suppress(OSError, StopIteration):
        with path.open(encoding="utf-8") as file:
            header = next(file)
        complete = [line for line in lines[1:] if line.endswith("\n")]
        return list(csv.DictReader(io.StringIO(header + "".join(complete))))
    return []


def last_line(log: Path | None) -> str:
    """Return the last line of a log that is not blank; empty if there is none."""
    lines = _tail(log).split("\n") if log else []
    return next((line.strip() for line in reversed(lines) if line.strip()), "")


def _tail(path: Path) -> str:
    """Return the end of a file; empty if it does not exist. The first line may be incomplete."""
    try:
        with path.open("rb") as file:
            file.seek(max(0, path.stat().st_size - TAIL_BYTES))
            return file.read().decode("utf-8", "replace")
    except OSError:
        return ""
