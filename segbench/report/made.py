"""Links from the page to the files that its numbers were made from."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pandas as pd

from segbench.contract.run import RunDescription, repetition
from segbench.report.cell_status import cell_status

FILES = ("scores.json", "training.json", "efficiency.json", "history.csv")


def made(run: RunDescription, cells: pd.DataFrame, dataset: str, out: Path) -> list[dict[str, Any]]:
    """Return the cells of a dataset with links to their folder, files and last log.

    Args:
        cells: the cells of the run in their order; see `segbench.report.summarise.collect`.
        out: folder of the page, from which the links lead. What does not exist has no link.
    """
    rows = []
    for cell, status in zip(run.cells, cells["status"]):
        if cell.dataset == dataset:
            folder, log = run.folder(cell), cell_status(run, cell).log
            paths = {"folder": folder, **{name: folder / name for name in FILES}}
            if log is not None and log.resolve().is_relative_to(run.root.resolve()):
                paths["log"] = log
            rows.append(
                {
                    "title": run.title(cell.model),
                    "control": cell.control,
                    "name": repetition(cell.seed, cell.fold),
                    "status": status,
                    "links": {name: link(path, out) for name, path in paths.items() if path.exists()},
                }
            )
    return rows


def link(path: Path, out: Path) -> str:
    """Return the address of a file as seen from a page in `out`."""
    return quote(Path(os.path.relpath(path.resolve(), out.resolve())).as_posix())
