"""Compare the same cells of two runs: differences of their scores, and what changed between them."""

from __future__ import annotations

import logging
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from segbench.comparison.differences import Difference, differences, same_images
from segbench.comparison.holm import holm
from segbench.comparison.pairs import ALPHA
from segbench.contract.run import CellDescription
from segbench.contract.scores import UnlikeContracts, join
from segbench.contract.view import TASKS, Task
from segbench.errors import SegbenchError
from segbench.evaluation.joined import joined
from segbench.evaluation.statistics import Statistics
from segbench.report.tables import main_scores
from segbench.runs.facts import data_of
from segbench.runs.results import Results

log = logging.getLogger(__name__)
KEY = ["dataset", "task", "model", "metric"]
COLUMNS = [
    *KEY, "seeds", "paired", "a", "b", "difference", "low", "high", "p", "p_holm", "verdict",
]  # fmt: skip


@dataclass
class Compared:
    """Two runs, a and b."""

    a: Results
    b: Results
    margin: float
    scores: pd.DataFrame
    """A row for each score of both, with the columns `COLUMNS`. `paired`: what the difference is paired by:
    "images and seeds", "images" or "". `verdict`: same, not told apart, or differs."""
    only: list[tuple[str, str]]
    """Cells that one of them does not have: its name, and the run that has it."""
    failed: list[tuple[str, str]]
    """What both have and cannot be compared, and why."""

    @property
    def exit_status(self) -> int:
        """1 if a score differs, 2 if something that both have, or all, could not be compared, else 0."""
        if (self.scores["verdict"] == "differs").any():
            return 1
        return 2 if self.failed or self.scores.empty else 0


def compare(a: Results, b: Results, margin: float, *, every: bool = False, exact: bool = False) -> Compared:
    """Compare the cells of two runs that are of the same dataset and model.

    If both have a seed in common, only the seeds that both have are compared, each with its own; otherwise
    the means over all seeds.

    Args:
        a, b: the runs.
        margin: a difference up to this does not matter.
        every: compare all metrics of the comparison tables, not only the primary one.
        exact: every difference counts, however small.
    """
    pairs, only = _pairs(a, b)
    failed: list[tuple[str, str]] = []
    rows: list[dict[str, Any]] = []
    for cells in pairs:
        for side, own in zip((a, b), cells):
            failed += [(f"{c.name} of {side.label}", side.reasons[c]) for c in own if c in side.reasons]
        own, other = _scored(a, b, *cells)
        for task in TASKS if own and other else ():
            try:
                rows += _rows(a, b, own, other, task, every)
            except UnlikeContracts as error:
                failed.append((f"{own[0].dataset}/{own[0].model}", str(error)))
    frame = pd.DataFrame(rows, columns=[c for c in COLUMNS if c not in ("p_holm", "verdict")])
    frame["p_holm"] = holm(frame["p"].to_numpy(float))
    frame["verdict"] = [_verdict(row, margin, exact) for row in frame.to_dict("records")]
    return Compared(a, b, margin, frame[COLUMNS], only, failed)


def _verdict(row: Mapping[Any, Any], margin: float, exact: bool) -> str:
    """Return what may be concluded: a score that both lack is the same."""
    size = abs(row["difference"])
    if size == 0 or (math.isnan(row["a"]) and math.isnan(row["b"])):
        return "same"
    if exact or math.isnan(size):
        return "differs"
    tested = not math.isnan(row["p_holm"])
    if size > margin and (not tested or row["p_holm"] < ALPHA):
        return "differs"
    within = max(size, abs(row["low"]), abs(row["high"])) <= margin
    return "same" if within or not tested else "not told apart"


Cells = list[CellDescription]


def _pairs(a: Results, b: Results) -> tuple[list[tuple[Cells, Cells]], list[tuple[str, str]]]:
    """Return the cells to compare of each dataset and model, and those that only one run has."""
    pairs, only = [], []
    for dataset, model in dict.fromkeys((c.dataset, c.model) for c in [*a.cells, *b.cells]):
        own, other = a.of(dataset, model), b.of(dataset, model)
        if own and other and {c.seed for c in own} & {c.seed for c in other}:
            common = {(c.seed, c.fold) for c in own} & {(c.seed, c.fold) for c in other}
            both = tuple([c for c in side if (c.seed, c.fold) in common] for side in (own, other))
        else:
            both = (own, other) if own and other else ([], [])
        for side, cells, compared in zip((a, b), (own, other), both):
            only += [(c.name, side.label) for c in cells if c not in compared]
        if both[0]:
            pairs.append((both[0], both[1]))
    return pairs, only


def _scored(a: Results, b: Results, own: Cells, other: Cells) -> tuple[Cells, Cells]:
    """Return the cells with scores; of equal seeds, those with scores in both."""
    scored = [c for c in own if c not in a.reasons], [c for c in other if c not in b.reasons]
    if [(c.seed, c.fold) for c in own] != [(c.seed, c.fold) for c in other]:
        return scored
    common = {(c.seed, c.fold) for c in scored[0]} & {(c.seed, c.fold) for c in scored[1]}
    first, second = ([c for c in side if (c.seed, c.fold) in common] for side in scored)
    return first, second


def _rows(
    a: Results, b: Results, own: Cells, other: Cells, task: Task, every: bool
) -> Iterator[dict[str, Any]]:
    dataset, model = own[0].dataset, own[0].model
    first, second = (_scores(side, cells, task) for side, cells in ((a, own), (b, other)))
    if first.empty and second.empty:
        return
    for side, rows in ((a, first), (b, second)):
        if rows.empty:
            raise UnlikeContracts(f"{task} is not scored in {side.label}")
    metrics = [*dict.fromkeys(first["metric"])]
    metrics = metrics if every else metrics[:1]  # the first one ranks
    for side, rows in ((a, first), (b, second)):
        if missing := set(metrics) - set(rows["metric"]):
            raise UnlikeContracts(f"{task} has no {', '.join(sorted(missing))} in {side.label}")
    whole = pd.concat([first, second])
    records: Any = whole[whole["metric"].isin(metrics)].to_dict("records")
    join(records)
    tested, paired = _tested(a, b, own, other, task)
    for metric in metrics:
        values = [rows.loc[rows["metric"] == metric, "value"].mean() for rows in (first, second)]
        nothing = Difference(values[0], values[1], values[1] - values[0], math.nan, math.nan, math.nan)
        seeds = [len({c.seed for c in cells}) for cells in (own, other)]
        yield {
            "dataset": dataset,
            "task": task,
            "model": model,
            "metric": metric,
            "seeds": " and ".join(map(str, dict.fromkeys(seeds))),
            "paired": paired if metric in tested else "",
            **vars(tested.get(metric, nothing)),
        }


def _scores(side: Results, cells: Cells, task: Task) -> pd.DataFrame:
    """Return the scores of some cells over all classes."""
    rows = main_scores(side.run, side.scores, cells[0].dataset, task)
    rows = rows[(rows["model"] == cells[0].model) & rows["seed"].isin([c.seed for c in cells])]
    return rows[rows["fold"].isin([c.fold for c in cells])] if "fold" in rows and len(rows) else rows


def _tested(
    a: Results, b: Results, own: Cells, other: Cells, task: Task
) -> tuple[dict[str, Difference], str]:
    """Return the differences by metric, and what they are paired by; {} without per-image files."""
    try:
        sides = [_files(side, cells, task) for side, cells in ((a, own), (b, other))]
        if not all(sides):
            return {}, ""
        firsts = [next(iter(side.values())) for side in sides]
        for first, side in zip(firsts, sides):
            if not all(same_images(first, one, task) for one in side.values()):
                raise ValueError("its seeds are not on the same images")
        alike = same_images(firsts[0], firsts[1], task)
        digests = {data_of(side.run, c) for side, cells in ((a, own), (b, other)) for c in cells} - {None}
        same_data = alike and len(digests) < 2
        same_seeds = same_data and [*sides[0]] == [*sides[1]]
        paired = "images and seeds" if same_seeds else "images" if same_data else ""
        return differences(
            [*sides[0].values()], [*sides[1].values()], task, same_data=same_data, same_seeds=same_seeds
        ), paired
    except (SegbenchError, OSError, KeyError, ValueError) as error:
        log.warning("%s/%s, %s: no interval: %s", own[0].dataset, own[0].model, task, error)
        return {}, ""


def _files(side: Results, cells: Cells, task: Task) -> dict[int, Statistics]:
    """Return the per-image statistics of each seed, over its folds; {} if a file or the task is missing."""
    found: dict[int, list[Path]] = {}
    for cell in cells:
        found.setdefault(cell.seed, []).append(side.run.folder(cell) / "per_image.parquet")
    if not all(path.exists() for paths in found.values() for path in paths):
        return {}
    opened = {
        seed: joined(paths) if len(paths) > 1 else Statistics(paths[0])
        for seed, paths in sorted(found.items())
    }
    return opened if all(task in one.metadata.tasks for one in opened.values()) else {}
