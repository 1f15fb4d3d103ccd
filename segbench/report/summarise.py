"""Summarise the cells of a run: all scores, the status of every cell, comparison tables and ranks."""

from __future__ import annotations

import logging
import math
from pathlib import Path
from typing import Any

import pandas as pd

from segbench.comparison.compare import Comparison
from segbench.comparison.compare import compare as compare_networks
from segbench.contract.run import CellDescription, RunDescription
from segbench.contract.scores import SCORE_COLUMNS
from segbench.contract.view import TASKS, Task
from segbench.errors import SegbenchError
from segbench.files import atomic_folder, read_json, write_text
from segbench.report.by_column import FILE as BY_COLUMN
from segbench.report.by_column import scores_by_column, values_by_name
from segbench.report.cell_status import cell_status
from segbench.report.conditions import COLUMNS, conditions
from segbench.report.contests import contests, primary_scores
from segbench.report.gaps import gaps
from segbench.report.image_scores import FOLDER, path_of, scores_of_images
from segbench.report.intervals import with_intervals
from segbench.report.tables import compare, to_html, to_markdown

logger = logging.getLogger(__name__)
GAPS = ["train", "evaluation", "gap"]
"""Columns of gaps.csv that are numbers."""


def summarise(run_json: Path, out: Path) -> None:
    """Write the summary of a run to the folder `out`.

    scores.csv: every score of every finished cell, one a row.
    cells.csv: every planned cell and every skipped pair, with status, reason and costs.
    pooled.csv: the scores over all folds, for datasets with cross-validation.
    tables/<dataset>_<task>.{csv,md,html}: the comparison of the models.
    comparison/*.csv: intervals, tests and ranks; see `segbench.comparison.compare.Comparison`.
    images/<dataset>_<task>.csv: scores of single images.
    conditions.csv: scores by properties of objects, classes and images; see `segbench.report.conditions`.
    columns.csv: scores by the categories of the images that a dataset's `metadata` names, if one does.
    gaps.csv: scores on the training split and on the evaluation split, if both are scored.

    A cell that failed, is missing or cannot be read becomes a row of the tables, not an error.

    Raises:
        SegbenchError: a file of `metadata` does not fit its dataset.
    """
    run = RunDescription.read(run_json)
    scores, cells = collect(run)
    with atomic_folder(out) as folder:
        scores.to_csv(folder / "scores.csv", index=False)
        cells.to_csv(folder / "cells.csv", index=False)
        pooled = collect_pooled(run, cells)
        if not pooled.empty:
            pooled.to_csv(folder / "pooled.csv", index=False)
        (folder / "tables").mkdir()
        tables = comparisons(run, scores, cells, pooled)
        compared = compare_all(run, scores, tables)
        compared.write(folder / "comparison")
        tables = with_intervals(tables, compared)
        for (dataset, task), table in tables.items():
            stem = f"{dataset}_{task}"
            table.to_csv(folder / "tables" / f"{stem}.csv", index=False)
            write_text(folder / "tables" / f"{stem}.md", to_markdown(run, table))
            write_text(
                folder / "tables" / f"{stem}.html",
                to_html(run, table, f"{run.dataset_title(dataset)}, {task}"),
            )
        _write_images(run, scores, cells, tables, folder)
        if "train" in run.score_splits:
            gaps(run, scores).to_csv(folder / "gaps.csv", index=False)
    done = int((cells["status"] == "ok").sum())
    logger.info("%d of %d cells scored; summary in %s", done, len(run.cells), out)


def collect(run: RunDescription) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return all scores and all cells of a run as data frames; see `summarise` for their contents.

    The scores have a column `split` if those of the training split are among them.
    """
    found, cells = [], []
    key = ["dataset", "model", "seed", *(["fold"] if _has_folds(run) else [])]
    split = ["split"] if "train" in run.score_splits else []
    for cell in run.cells:
        status, reason, scores = _status_and_scores(run, cell)
        costs = _costs(run, cell) | _part(run, cell) if status == "ok" else {}
        cells.append({**cell.model_dump(exclude={"trained"}), "status": status, "reason": reason, **costs})
        if scores is not None:
            own = cell.model_dump(include={*key, "control"})
            found.append(scores.assign(**own, split=evaluation_split(run, cell) if split else ""))
            if (
                split
                and not (cell.control or cell.external)
                and (trained := _status_and_scores(run, cell, "train")[2]) is not None
            ):
                found.append(trained.assign(**own, split="train"))
    cells += [{**one.model_dump(), "control": False, "status": "not-applicable"} for one in run.skipped]
    columns = [*key, *split, "control", *SCORE_COLUMNS, "low", "high"]
    scores = pd.concat(found, ignore_index=True) if found else pd.DataFrame(columns=columns)
    names = [*key, "task", "control", "status", "reason"]
    frame = pd.DataFrame(cells, columns=list(dict.fromkeys(names + [k for c in cells for k in c])))
    frame["seed"] = frame["seed"].astype("Int64")
    if "fold" in key:
        scores["fold"], frame["fold"] = scores["fold"].astype("Int64"), frame["fold"].astype("Int64")
    return scores[columns], frame


def collect_pooled(run: RunDescription, cells: pd.DataFrame) -> pd.DataFrame:
    """Return the scores over all folds of each network and seed of which every fold is scored.

    Columns are those of `scores` in `collect`, without `fold`.
    """
    found = []
    for cell in run.cells:
        if cell.fold != 0:
            continue
        same = (cells["dataset"] == cell.dataset) & (cells["model"] == cell.model)
        complete = (cells.loc[same & (cells["seed"] == cell.seed), "status"] == "ok").all()
        folder = run.pooled(cell)
        if not complete or not (folder / "scores.csv").exists():
            continue
        try:
            scores = read_scores(folder / "scores.csv")
            bounds = _intervals(read_json(folder / "scores.json").get("intervals", {}), scores)
        except (OSError, ValueError, SegbenchError) as error:
            logger.warning("%s is skipped: %s", folder, error)
            continue
        own = cell.model_dump(include={"dataset", "model", "seed", "control"})
        found.append(scores.assign(**own, **bounds))
    columns = ["dataset", "model", "seed", "control", *SCORE_COLUMNS, "low", "high"]
    return pd.concat(found, ignore_index=True)[columns] if found else pd.DataFrame(columns=columns)


def of_evaluation_splits(scores: pd.DataFrame) -> pd.DataFrame:
    """Return the scores on the evaluation splits, without the column `split`."""
    if "split" not in scores:
        return scores
    return scores[scores["split"] != "train"].drop(columns="split").reset_index(drop=True)


def evaluation_split(run: RunDescription, cell: CellDescription) -> str:
    """Return the name of the evaluation split of a cell's dataset; `test` if the dataset is gone."""
    try:
        return str(read_json(run.data(cell) / "dataset.json")["evaluation_split"])
    except (SegbenchError, KeyError, TypeError):
        return "test"


def _has_folds(run: RunDescription) -> bool:
    return any(cell.fold is not None for cell in run.cells)


def comparisons(
    run: RunDescription, scores: pd.DataFrame, cells: pd.DataFrame, pooled: pd.DataFrame | None = None
) -> dict[tuple[str, Task], pd.DataFrame]:
    """Return the table of every dataset and task with scores or planned cells; see `compare`."""
    scores = of_evaluation_splits(scores)
    have = set(zip(scores["dataset"], scores["task"])) | {(c.dataset, c.task) for c in run.cells}
    pairs = [(d, t) for d in run.datasets for t in TASKS if (d, t) in have]
    return {pair: compare(run, scores, cells, *pair, pooled) for pair in pairs}


def compare_all(
    run: RunDescription, scores: pd.DataFrame, tables: dict[tuple[str, Task], pd.DataFrame]
) -> Comparison:
    """Compare all networks by their files of per-image statistics."""
    own = contests(run, of_evaluation_splits(scores), tables)
    return compare_networks(run, own, primary_scores(tables))


def _write_images(
    run: RunDescription,
    scores: pd.DataFrame,
    cells: pd.DataFrame,
    tables: dict[tuple[str, Task], pd.DataFrame],
    folder: Path,
) -> None:
    """Write the scores of single images, and those by their properties."""
    (folder / FOLDER).mkdir()
    scores = of_evaluation_splits(scores)
    found, by_column = [], []
    known = {dataset: values_by_name(run, dataset) for dataset in run.datasets if _is_scored(cells, dataset)}
    for (dataset, task), table in tables.items():
        models = table.loc[~table["control"] & (table["status"] == "ok"), "model"].tolist()
        try:
            images = scores_of_images(run, cells, dataset, task, models)
        except (SegbenchError, KeyError, OSError) as error:
            logger.warning("%s, %s: no scores of images: %s", dataset, task, error)
            continue
        images.to_csv(path_of(folder, dataset, task), index=False, float_format="%.6g")
        of_class = (scores["dataset"] == dataset) & (scores["task"] == task) & (scores["class"] != "")
        classes = scores[of_class & (scores["metric"] == run.primary(task)) & scores["model"].isin(models)]
        if known.get(dataset):
            by_column.append(scores_by_column(run, known[dataset], dataset, task, images))
        found.append(conditions(run, cells, dataset, task, images=images, classes=classes))
    whole = pd.concat(found, ignore_index=True) if found else pd.DataFrame(columns=COLUMNS)
    whole.to_csv(folder / "conditions.csv", index=False)
    if by_column:
        pd.concat(by_column, ignore_index=True).to_csv(folder / BY_COLUMN, index=False)


def _is_scored(cells: pd.DataFrame, dataset: str) -> bool:
    return bool(((cells["dataset"] == dataset) & (cells["status"] == "ok")).any())


def read_conditions(folder: Path) -> pd.DataFrame:
    """Read the scores by properties of images that `summarise` wrote to a folder."""
    path = folder / "conditions.csv"
    text = dict.fromkeys(["dataset", "task", "condition", "model"], str)
    return (
        pd.read_csv(path, dtype=text, keep_default_na=False)
        if path.exists()
        else pd.DataFrame(columns=COLUMNS)
    )


def read_summary(folder: Path) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Read the cells and the scores on the evaluation splits that `summarise` wrote to a folder."""
    text = ["dataset", "model", "task", "status", "reason"]
    cells = pd.read_csv(folder / "cells.csv", dtype=dict.fromkeys(text, "str"), low_memory=False)
    text += ["part"] if "part" in cells else []
    cells[text] = cells[text].fillna("")
    scores = of_evaluation_splits(read_scores(folder / "scores.csv")).astype({"seed": int})
    cells["seed"] = cells["seed"].astype("Int64")
    if "fold" in scores:
        scores["fold"] = pd.to_numeric(scores["fold"].where(scores["fold"] != "")).astype("Int64")
        cells["fold"] = cells["fold"].astype("Int64")
    return scores, cells


def read_pooled(folder: Path) -> pd.DataFrame | None:
    """Read the scores over all folds that `summarise` wrote to a folder; None if there are none."""
    path = folder / "pooled.csv"
    return read_scores(path) if path.exists() else None


def read_gaps(folder: Path) -> pd.DataFrame | None:
    """Read the gaps between training and evaluation split; None if only the latter is scored."""
    path = folder / "gaps.csv"
    return (
        pd.read_csv(path, keep_default_na=False, na_values={k: [""] for k in GAPS}) if path.exists() else None
    )


def _status_and_scores(
    run: RunDescription, cell: CellDescription, split: str = ""
) -> tuple[str, str, pd.DataFrame | None]:
    """Return status, reason and scores of a cell. The scores are None unless the status is ok.

    Args:
        split: `train` for the scores of the training split; "" for those of the evaluation split.
    """
    found = cell_status(run, cell, split)
    if found.status != "ok":
        return "pending" if found.status == "running" else found.status, found.reason, None
    folder = run.folder(cell, split)
    try:
        scores = read_scores(folder / "scores.csv")
    except OSError as error:
        return "failed", f"scores.csv cannot be read ({error.strerror})", None
    except ValueError as error:
        return "failed", f"scores.csv: {error}", None
    path = folder / "scores.json"
    document = read_json(path) if path.exists() else {}
    bounds = _intervals(document.get("intervals", {}), scores)
    return "ok", document.get("not_applicable", ""), scores.assign(**bounds)


def _intervals(found: dict[str, Any], scores: pd.DataFrame) -> dict[str, list[float]]:
    """Return `low` and `high`, the bounds of the 95 % interval over the images, or NaN."""
    whole = zip(scores["task"], scores["metric"], scores["class"] == "")
    bounds = [(found.get(t, {}).get(m) if mean else None) or (math.nan, math.nan) for t, m, mean in whole]
    return {"low": [low for low, _ in bounds], "high": [high for _, high in bounds]}


def _part(run: RunDescription, cell: CellDescription) -> dict[str, str]:
    """Return `part`, such as `12 of 20 images`, for a control that could be scored on these only."""
    path = run.folder(cell) / "scores.json"
    if not cell.control or not path.exists():
        return {}
    found = read_json(path)
    return {"part": f"{found['images']} of {found['of_images']} images"} if "of_images" in found else {}


def _costs(run: RunDescription, cell: CellDescription) -> dict[str, Any]:
    """Return the scalar values of training.json as train_<key> and of efficiency.json as predict_<key>.

    External predictions have the costs that their entry states.
    """
    if cell.external:
        entry = run.models.get(cell.model)
        return dict(entry.costs) if entry else {}
    costs: dict[str, Any] = {}
    for name, prefix in (("training.json", "train"), ("efficiency.json", "predict")):
        path = run.folder(cell) / name
        try:
            values = read_json(path) if path.exists() else {}
            values |= {f"version_{package}": v for package, v in values.get("versions", {}).items()}
        except (SegbenchError, TypeError, AttributeError) as error:
            logger.warning("%s is skipped: %s", path, error)
            continue
        costs |= {f"{prefix}_{k}": v for k, v in values.items() if isinstance(v, str | int | float)}
    return costs


def read_scores(path: Path) -> pd.DataFrame:
    """Read a scores.csv. `class` is "" for means over the classes.

    Raises:
        OSError: The file cannot be read.
        ValueError: It is not a table of scores.
    """
    scores = pd.read_csv(path, dtype=str, keep_default_na=False)  # a class may be called NA
    missing = set(SCORE_COLUMNS) - set(scores)
    if missing:
        raise ValueError(f"has no column {', '.join(sorted(missing))}")
    for column in {"value", "low", "high"}.intersection(scores):
        scores[column] = pd.to_numeric(scores[column].where(scores[column] != "")).astype(float)
    for column in {"derived", "control"}.intersection(scores):
        scores[column] = scores[column] == "True"
    return scores
