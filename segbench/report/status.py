"""Progress of a run, from the files that its steps write. Neither Snakemake nor a scheduler is asked."""

from __future__ import annotations

import csv
import io
import time
from collections import Counter
from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from typing import Any

import yaml

from segbench.contract.run import RunDescription
from segbench.errors import SegbenchError
from segbench.report.cell_status import FAULTS, CellStatus, cell_status

TAIL_BYTES = 8192
"""Bytes at the end of a history or log in which the newest rows or the last line are searched."""


def status(run: Path, *, everything: bool = False) -> None:
    """Print the cells of a run by status.

    Running cells are shown with iteration, loss and time left, failed ones with the last line of their log.

    Args:
        run: Folder of the run, or its run.json.
        everything: Also show the other cells, which are only counted by default.
    """
    if not run.exists():
        raise SegbenchError("no such run", where=run, remedy="start it, or give the folder of another run")
    planned = RunDescription.read(run / "run.json" if run.is_dir() else run)
    found = {cell: cell_status(planned, cell) for cell in planned.cells}
    counts = Counter(one.status for one in found.values())
    print(f"run '{planned.name}': {len(found)} cells: {', '.join(f'{n} {s}' for s, n in counts.items())}")
    for dataset in planned.missing:
        print(f"  {dataset}")
    iterations = _iterations(planned)
    for cell, one in sorted(found.items(), key=lambda item: item[1].status):
        name = cell.name
        if one.status == "running":
            total = iterations.get((cell.model, cell.dataset))
            print(f"  running  {name}: {_progress(planned.folder(cell), one, total)}")
        elif one.status in FAULTS:
            print(f"  {one.status}  {name}: {one.reason}")
            if line := last_line(one.log):
                print(f"      {line}")
        elif everything:
            print(f"  {one.status}  {name}: {one.reason}".removesuffix(": "))


def newest_run(results: Path = Path("results")) -> Path:
    """Return the folder of the run that was started last."""
    runs = sorted(results.glob("*/run.json"), key=lambda path: path.stat().st_mtime)
    if not runs:
        raise SegbenchError("no run has been started here", where=results, remedy="give the folder of a run")
    return runs[-1]


def _iterations(run: RunDescription) -> dict[tuple[str, str], int]:
    """Return the number of iterations of each training by (model, dataset)."""
    recipes = (yaml.load(run.config_yaml, yaml.CSafeLoader) or {}).get("recipes", {})
    return {(m, d): recipe["iterations"] for m, entry in recipes.items() for d, recipe in entry.items()}


def _progress(folder: Path, one: CellStatus, total: int | None) -> str:
    parts = [one.step]
    rows = _newest_rows(folder / "history.partial.csv") if one.step == "train" else []
    if rows:
        first, last = rows[0], rows[-1]
        iteration = int(last["iteration"])
        parts[0] += f" {iteration}/{total or '?'}"
        parts.append(f"loss {float(last['total']):.4g}")
        # from the first of these rows on; with a single row, from the start of the training
        steps = iteration - int(first["iteration"]) or iteration
        seconds = float(last["seconds"]) - (float(first["seconds"]) if len(rows) > 1 else 0.0)
        if total:
            parts.append(f"{timedelta(seconds=round((total - iteration) * seconds / steps))} left")
    elif line := last_line(one.log):
        parts.append(line)
    signs = [
        path.stat().st_mtime for path in (folder / "history.partial.csv", one.log) if path and path.exists()
    ]
    if signs:
        parts.append(f"last sign {timedelta(seconds=max(0, round(time.time() - max(signs))))} ago")
    return ", ".join([*parts, f"on {one.node}"])


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
