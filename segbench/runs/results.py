"""The results folder of a run that has ended, here or elsewhere. The datasets need not be here."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from segbench.contract.run import CellDescription, RunDescription
from segbench.errors import SegbenchError
from segbench.report.summarise import collect, of_evaluation_splits


@dataclass
class Results:
    """The cells of a run, and their scores on the evaluation splits."""

    label: str
    """How the user named the run."""
    run: RunDescription
    cells: list[CellDescription]
    scores: pd.DataFrame
    """Those of all finished cells, see `segbench.report.summarise.collect`."""
    reasons: dict[CellDescription, str]
    """Status and reason of the cells without scores."""

    def of(self, dataset: str, model: str) -> list[CellDescription]:
        """Return the cells of a dataset and a model."""
        return [c for c in self.cells if (c.dataset, c.model) == (dataset, model)]


def run_json(given: str | Path) -> Path:
    """Return the run.json of a run that is given by its folder, its run.json or its name below results/.

    Raises:
        SegbenchError: there is none.
    """
    places = [Path(given), *([Path("results", given)] if len(Path(given).parts) == 1 else [])]
    for place in places:
        path = place / "run.json" if place.is_dir() else place
        if path.is_file():
            return path
    raise SegbenchError("no such run", where=given, remedy="give the folder of a run: it has a run.json")


def read_results(given: str) -> Results:
    """Read a run. `RUN@SEED` stands for its cells of one seed.

    Raises:
        SegbenchError: there is no such run, or it has no cell of the seed.
    """
    place, at, text = given.rpartition("@")
    seed = int(text) if at and text.isdecimal() and not Path(given).exists() else None
    run = RunDescription.read(run_json(given if seed is None else place))
    scores, cells = collect(run)
    chosen = [c for c in run.cells if seed is None or c.seed == seed]
    if not chosen:
        seeds = ", ".join(str(s) for s in dict.fromkeys(c.seed for c in run.cells))
        raise SegbenchError("has no such cells", where=given, remedy=f"the seeds are {seeds or 'none'}")
    scores = of_evaluation_splits(scores)
    if seed is not None:
        scores = scores[scores["seed"] == seed]
    states = zip(cells["status"], cells["reason"])  # in the order of the cells, skipped pairs behind them
    reasons = {
        cell: f"{status}: {reason}".removesuffix(": ")
        for cell, (status, reason) in zip(run.cells, states)
        if status != "ok" and cell in chosen
    }
    return Results(given, run, chosen, scores, reasons)
