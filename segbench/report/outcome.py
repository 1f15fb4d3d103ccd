"""How far a cell came, from the `state.json` of its dataset and its own."""

from __future__ import annotations

import os
import platform
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from segbench.contract.run import Cell, Run
from segbench.errors import SegbenchError
from segbench.files import read_json

FAULTS = frozenset({"failed", "out-of-memory", "timeout", "interrupted"})


@dataclass(frozen=True)
class Outcome:
    status: str
    """ok, running, pending or one of `FAULTS`."""
    reason: str = ""
    step: str = ""
    node: str = ""
    log: Path | None = None
    """Of the last step."""


def outcome(run: Run, cell: Cell) -> Outcome:
    """Never raises: a state that cannot be read is a failure."""
    data = run.datasets[cell.dataset].state
    for place, of in ((data, " of the dataset"), (run.folder(cell), "")):
        try:
            state = read_json(place / "state.json") if place and (place / "state.json").exists() else {}
            status, step = str(state.get("state", "pending")), str(state.get("step", ""))
            reason = str(state.get("reason") or "").strip()
            log = Path(state["log"]) if state.get("log") else None
        except (SegbenchError, AttributeError, TypeError) as error:
            return Outcome("failed", f"state.json: {error}")
        if of and status in FAULTS:
            return Outcome(status, f"{step}{of}: {reason}", step, log=log)
    if status == "running":
        if _is_dead(state):
            reason = f"{step} was killed (out of memory, perhaps) or its machine stopped"
            return Outcome("failed", reason, step, log=log)
        return Outcome(
            "running", f"{step} has begun and has not ended", step, str(state.get("node", "")), log
        )
    if status == "ok" and step != "evaluate":
        return Outcome("pending", f"{step} is done, evaluation is not", step, log=log)
    if status == "ok" and not (run.folder(cell) / "scores.csv").exists():
        # Snakemake removes the files of a job that it had to end, also of one that was just done
        return Outcome("interrupted", "the run was ended while this cell was scored", step, log=log)
    if status == "pending":
        return Outcome("pending", reason or "not begun")
    return Outcome(status if status == "ok" or status in FAULTS else "failed", reason, step, log=log)


def _is_dead(state: dict[str, Any]) -> bool:
    """Whether the process that wrote this state ran on this machine and is gone."""
    if state.get("node") != platform.node() or not isinstance(state.get("pid"), int):
        return False
    try:
        os.kill(state["pid"], 0)
    except ProcessLookupError:
        return True
    except PermissionError:
        pass
    return False
