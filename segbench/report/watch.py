"""`segbench status --watch`: the running cells of a run as a table that is drawn again and again."""

from __future__ import annotations

import math
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from segbench.contract.run import RunDescription
from segbench.report.cell_status import FAULTS, cell_status
from segbench.report.planned_iterations import planned_iterations
from segbench.report.progress import Progress, progress
from segbench.units import NOTHING, duration

SECONDS = 2.0
"""Time between two drawings."""


def watch(
    run_json: Path, console: Console | None = None, pause: Callable[[float], None] = time.sleep
) -> None:
    """Show the running cells until no cell runs or waits, or until Ctrl-C.

    Args:
        run_json: run.json of a run.
        console: where to draw; by default, standard output.
        pause: waits some seconds.
    """
    with suppress(KeyboardInterrupt), Live(console=console, auto_refresh=False) as live:
        while True:
            shown, over = drawn(RunDescription.read(run_json))
            live.update(shown, refresh=True)
            if over:
                return
            pause(SECONDS)


def drawn(run: RunDescription) -> tuple[Group, bool]:
    """Return the running and the failed cells, and whether no cell runs or waits any more."""
    found = {cell: cell_status(run, cell) for cell in run.cells}
    counts = Counter(one.status for one in found.values())
    totals = planned_iterations(run)
    table = Table("Cell", "Step", "", "Iteration", "Loss", "Validation", "Metric", "Images/s", "Left", "Sign")
    for cell, one in found.items():
        if one.status == "running":
            table.add_row(cell.name, *_row(progress(run.folder(cell), one, totals.get(cell))))
    faults = [
        f"{cell.name}: {one.status}: {one.reason}" for cell, one in found.items() if one.status in FAULTS
    ]
    done = counts["ok"] + sum(counts[fault] for fault in FAULTS)
    head = Text(f"{run.name}: {', '.join(f'{n} {status}' for status, n in counts.items())}", style="bold")
    parts: list[RenderableType] = [
        head,
        ProgressBar(total=max(1, len(found)), completed=done, width=40),
        table,
    ]
    return Group(*parts, *(Text(line, style="red") for line in faults)), done == len(found)


def _row(one: Progress) -> list[Text | ProgressBar]:
    bar: Text | ProgressBar = Text(one.line if one.iteration is None else "")
    if one.iteration is not None and one.total:
        bar = ProgressBar(total=one.total, completed=one.iteration, width=20)
    of = "" if one.iteration is None else f"{one.iteration}/{one.total or '?'}"
    numbers = [
        NOTHING if math.isnan(value) else f"{value:.4g}"
        for value in (one.loss, one.validation, one.score, one.images_per_second)
    ]
    times = [duration(one.left), duration(one.last_sign)]
    return [Text(one.step), bar, *(Text(text) for text in (of, *numbers, *times))]
