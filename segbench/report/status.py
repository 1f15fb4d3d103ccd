"""Progress of a run, from the files that its steps write. Neither Snakemake nor a scheduler is asked."""

from __future__ import annotations

import math
from collections import Counter
from datetime import timedelta
from pathlib import Path

from segbench.contract.run import RunDescription
from segbench.errors import SegbenchError
from segbench.report.cell_status import FAULTS, cell_status
from segbench.report.planned_iterations import planned_iterations
from segbench.report.progress import Progress, last_line, progress


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
    totals = planned_iterations(planned)
    for cell, one in sorted(found.items(), key=lambda item: item[1].status):
        name = cell.name
        if one.status == "running":
            shown = progress(planned.folder(cell), one, totals.get(cell))
            print(f"  running  {name}: {_progress(shown, one.node)}")
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


def _progress(found: Progress, node: str) -> str:
    parts = [found.step]
    if found.iteration is not None:
        parts[0] += f" {found.iteration}/{found.total or '?'}"
        parts.append(f"loss {found.loss:.4g}")
        if not math.isnan(found.score):
            parts.append(f"validation {found.score:.4g}")
        if not math.isnan(found.left):
            parts.append(f"{timedelta(seconds=round(found.left))} left")
    elif found.line:
        parts.append(found.line)
    if not math.isnan(found.last_sign):
        parts.append(f"last sign {timedelta(seconds=round(found.last_sign))} ago")
    return ", ".join([*parts, f"on {node}"])
