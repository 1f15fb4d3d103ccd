"""From many cells to one summary: all scores, the state of every cell, comparison tables, ranks."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import pandas as pd

from segbench.data.dataset import TASKS
from segbench.errors import SegbenchError
from segbench.evaluation.contract import SCORE_COLUMNS
from segbench.files import atomic_folder, read_json, write_text
from segbench.report.run import Cell, Run
from segbench.report.statistics import ranks
from segbench.report.tables import compare, to_html, to_markdown

logger = logging.getLogger(__name__)

STATES = frozenset({"ok", "failed", "out-of-memory", "timeout", "interrupted"})


def summarise(run_json: Path, out: Path) -> None:
    """Write the summary of a run to the folder `out`.

    scores.csv: every score of every finished cell, tidy.
    cells.csv: every planned cell and every pair left out, with status, reason, and what it cost.
    tables/<dataset>_<task>.{csv,md,html}: the comparison of the models.
    ranks.csv: mean rank of the networks over the datasets of each task.

    A cell that failed, is missing or cannot be read is a row in the tables, never an error.
    """
    run = Run.read(run_json)
    scores, cells = collect(run)
    with atomic_folder(out) as folder:
        scores.to_csv(folder / "scores.csv", index=False)
        cells.to_csv(folder / "cells.csv", index=False)
        (folder / "tables").mkdir()
        tables = {}
        for dataset, task in scored_tasks(run, scores):
            table = tables[dataset, task] = compare(run, scores, cells, dataset, task)
            stem = f"{dataset}_{task}"
            table.to_csv(folder / "tables" / f"{stem}.csv", index=False)
            write_text(folder / "tables" / f"{stem}.md", to_markdown(run, table))
            write_text(folder / "tables" / f"{stem}.html", to_html(run, table))
        ranks(tables).to_csv(folder / "ranks.csv", index=False)
    done = int((cells["status"] == "ok").sum())
    logger.info("%d of %d cells scored; summary in %s", done, len(run.cells), out)


def collect(run: Run) -> tuple[pd.DataFrame, pd.DataFrame]:
    """(all scores, all cells) of a run; see `summarise`."""
    found, cells = [], []
    for cell in run.cells:
        status, reason, scores = _outcome(run, cell)
        costs = _costs(run, cell) if status == "ok" else {}
        cells.append({**cell.model_dump(), "status": status, "reason": reason, **costs})
        if scores is not None:
            found.append(scores.assign(**cell.model_dump(include={"dataset", "model", "seed", "control"})))
    cells += [{**one.model_dump(), "control": False, "status": "not-applicable"} for one in run.left_out]
    whose = ["dataset", "model", "seed", "control"]
    scores = pd.concat(found, ignore_index=True) if found else pd.DataFrame(columns=[*whose, *SCORE_COLUMNS])
    columns = ["dataset", "model", "seed", "task", "control", "status", "reason"]
    frame = pd.DataFrame(cells, columns=list(dict.fromkeys(columns + [k for c in cells for k in c])))
    frame["seed"] = frame["seed"].astype("Int64")
    return scores[[*whose, *SCORE_COLUMNS]], frame


def scored_tasks(run: Run, scores: pd.DataFrame) -> list[tuple[str, str]]:
    """(dataset, task) of every comparison: what was scored, and what was planned and failed."""
    have = set(zip(scores["dataset"], scores["task"]))
    have |= {(c.dataset, c.task) for c in run.cells if not c.control}
    return [(d, t) for d in run.datasets for t in TASKS if (d, t) in have]


def _outcome(run: Run, cell: Cell) -> tuple[str, str, pd.DataFrame | None]:
    """Status, the last message, and the scores of a cell; only a finished cell has scores."""
    folder = run.folder(cell)
    try:
        state = read_json(folder / "state.json") if (folder / "state.json").exists() else {}
        status, step = str(state.get("state", "pending")), str(state.get("step", ""))
        reason = str(state.get("reason") or "").strip()
    except (SegbenchError, AttributeError) as error:
        return "failed", f"state.json: {error}", None
    if status == "running":
        return "pending", f"{step} has begun and has not ended", None
    if status == "ok" and step != "evaluate":
        return "pending", f"{step} is done, evaluation is not", None
    if status != "ok":
        return (status if status in STATES or status == "pending" else "failed"), reason, None
    try:
        return "ok", "", read_scores(folder / "scores.csv")
    except (OSError, ValueError) as error:
        return "failed", f"scores.csv: {error}", None


def _costs(run: Run, cell: Cell) -> dict[str, Any]:
    """Plain values of training.json and efficiency.json; controls and hand-made cells have neither."""
    costs: dict[str, Any] = {}
    for name in ("training.json", "efficiency.json"):
        path = run.folder(cell) / name
        try:
            values = read_json(path) if path.exists() else {}
            costs |= {k: v for k, v in values.items() if isinstance(v, str | int | float)}
        except (SegbenchError, AttributeError) as error:
            logger.warning("%s is left out: %s", path, error)
    return costs


def read_scores(path: Path) -> pd.DataFrame:
    """A tidy file of scores; `class` is "" where a score is over all classes. Raises OSError or ValueError."""
    scores = pd.read_csv(path, dtype=str, keep_default_na=False)  # a class may be called NA
    missing = set(SCORE_COLUMNS) - set(scores)
    if missing:
        raise ValueError(f"has no column {', '.join(sorted(missing))}")
    scores["value"] = pd.to_numeric(scores["value"].replace("", "nan"))
    for column in {"derived", "control"}.intersection(scores):
        scores[column] = scores[column] == "True"
    return scores
