"""Status of a cell, from the `state.json` of its dataset and its own."""

from __future__ import annotations

import os
import platform
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from segbench.contract.run import CellDescription, RunDescription
from segbench.errors import SegbenchError
from segbench.files import read_json

FAULTS = frozenset({"failed", "out-of-memory", "timeout", "interrupted"})


@dataclass(frozen=True)
class CellStatus:
    """How far a cell is."""

    status: str
    """ok, running, pending or one of `FAULTS`."""
    reason: str = ""
    step: str = ""
    """Last step that started."""
    node: str = ""
    """Machine of a running step."""
    log: Path | None = None
    """Log file of the last step."""


def cell_status(run: RunDescription, cell: CellDescription, split: str = "") -> CellStatus:
    """Return the status of a cell. Never raises: if a state.json cannot be read, the cell failed.

    Args:
        split: `train` for the scores of the training split; "" for those of the evaluation split.
    """
    folder = run.folder(cell, split)
    data = run.datasets[cell.dataset].state
    for place, of in ((data, " of the dataset"), (folder, "")):
        try:
            state = read_json(place / "state.json") if place and (place / "state.json").exists() else {}
            status, step = str(state.get("state", "pending")), str(state.get("step", ""))
            reason = str(state.get("reason") or "").strip()
            log = Path(state["log"]) if state.get("log") else None
        except (SegbenchError, AttributeError, TypeError) as error:
            return CellStatus("failed", f"state.json: {error}")
        if of and status in FAULTS:
            return CellStatus(status, f"{step}{of}: {reason}", step, log=log)
    if status == "running":
        if _is_dead(state):
            reason = f"{step} was killed (perhaps out of memory) or its machine stopped"
            return CellStatus("failed", reason, step, log=log)
        return CellStatus("running", f"{step} is running", step, str(state.get("node", "")), log)
    if status == "ok" and step != "evaluate":
        return CellStatus("pending", f"{step} is done, evaluation is not", step, log=log)
    if status == "ok" and not (folder / "scores.csv").exists():
        # Snakemake removes the files of a job that it stops, even if the job has just finished
        return CellStatus("interrupted", "the run was stopped while this cell was scored", step, log=log)
    if status == "pending":
        return CellStatus("pending", reason or _waiting(run, cell) or "not started")
    return CellStatus(status if status == "ok" or status in FAULTS else "failed", reason, step, log=log)


def _waiting(run: RunDescription, cell: CellDescription) -> str:
    """Return what a cell that starts from another one waits for; empty if that one has ended."""
    first = next((one for one in run.cells if one.name == cell.start), None)
    status = cell_status(run, first).status if first else "ok"
    return f"starts from {cell.start}, which is {status}" if status != "ok" else ""


def _is_dead(state: dict[str, Any]) -> bool:
    """Return whether the process that wrote this state ran on this machine and has ended."""
    if state.get("node") != platform.node() or not isinstance(state.get("pid"), int):
        return False
    try:
        os.kill(state["pid"], 0)
    except ProcessLookupError:
        return True
    except PermissionError:
        pass
    return False
