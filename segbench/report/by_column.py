"""Scores by the values of columns of a user's own CSV file, such as the scanner or the site of each image."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from segbench.contract.run import RunDescription
from segbench.contract.view import Task
from segbench.data.columns import values_of_images
from segbench.data.dataset import Dataset
from segbench.evaluation.intervals import error, of_score
from segbench.report.tables import interval, score

FILE = "columns.csv"
"""Name of the file in the folder of the summary."""
FEW = 5
"""Values with fewer images are marked."""
COLUMNS = ["dataset", "task", "column", "value", "count", "model", "score", "low", "high"]


class Known(NamedTuple):
    """What is known of an image."""

    values: list[str]
    """Of each column; "" if it is missing."""
    unit: str
    """Its group, such as the patient, or the image alone."""


def values_by_name(run: RunDescription, dataset: str) -> dict[str, Known]:
    """Return the values of the columns of each image that may be scored, by its name.

    In a cross-validation, images of several splits are scored. A fold has their names, with that of the
    split before it if two splits share a name.

    Raises:
        SegbenchError: the CSV file does not fit the dataset, see `segbench.data.columns`.
    """
    described = run.datasets[dataset]
    if described.columns is None or not (described.root / "dataset.json").exists():
        return {}
    data = Dataset(described.root)
    group_of = {split: data.split(split).groups() for split in data.info.splits}
    found = {
        (split, name): Known(values, group_of[split].get(name, f"{split}/{name}"))
        for (split, name), values in values_of_images(data, described.columns).items()
    }
    if described.folds:
        return {f"{split}_{name}": one for (split, name), one in found.items()} | {
            name: one for (_, name), one in found.items()
        }
    return {name: one for (split, name), one in found.items() if split == data.info.evaluation_split}


def scores_by_column(
    run: RunDescription, known: Mapping[str, Known], dataset: str, task: Task, images: pd.DataFrame
) -> pd.DataFrame:
    """Return the mean score of each network over the images with each value of each column.

    Args:
        run: the run.
        known: see `values_by_name`.
        dataset: the dataset.
        task: one of its tasks.
        images: columns image, model, score: scores of images.

    Returns:
        The columns `COLUMNS`; value is "" for images without a value, and the last of its column. `count` is
        the number of images with a score; `low` and `high` are the ends of the interval of 95 % over them,
        of which those of a group count as one; NaN with fewer than two.
    """
    described = run.datasets[dataset].columns
    rows = images[images["image"].isin(list(known))]
    rows = rows.assign(unit=[known[name].unit for name in rows["image"]])
    parts = []
    for place, column in enumerate(described.columns if described else ()):
        own = rows.assign(value=[known[name].values[place] for name in rows["image"]])
        counts = own.drop_duplicates("image")["value"].value_counts().to_dict()
        found = pd.DataFrame(
            [
                {"value": value, "model": model, "count": counts[value], **_mean(scored)}
                for (value, model), scored in own.groupby(["value", "model"], sort=False)
            ],
            columns=["value", "model", "count", "score", "low", "high"],
        )
        last = {value: (not value, value) for value in counts}  # without a value
        found = found.sort_values("value", key=lambda value: value.map(last), kind="stable")
        parts.append(found.assign(dataset=dataset, task=task, column=column))
    return pd.concat(parts, ignore_index=True)[COLUMNS] if parts else pd.DataFrame(columns=COLUMNS)


def _mean(scored: pd.DataFrame) -> dict[str, float]:
    """Return the mean of the column score and its interval, by the jackknife over the column unit."""
    mean = float(scored["score"].mean())
    units = scored.groupby("unit")["score"].agg(["sum", "count"])
    rest = units.sum() - units
    with np.errstate(invalid="ignore"):
        ends = of_score(mean, *error((rest["sum"] / rest["count"]).to_numpy()))
    low, high = ends or (math.nan, math.nan)
    return {"score": mean, "low": low, "high": high}


def read_columns(folder: Path) -> pd.DataFrame:
    """Read the scores by columns that `summarise` wrote to a folder; empty if there are none."""
    path = folder / FILE
    if not path.exists():
        return pd.DataFrame(columns=COLUMNS)
    numbers = ["count", "score", "low", "high"]
    found = pd.read_csv(path, dtype=str, keep_default_na=False)  # a value may be called NA
    return found.assign(**{name: pd.to_numeric(found[name]) for name in numbers})


def column_tables(
    run: RunDescription, found: pd.DataFrame, dataset: str, task: Task, table: pd.DataFrame
) -> list[dict[str, Any]]:
    """Return what the page shows of each column: a row for each network, a value in each column of it.

    Args:
        run: the run.
        found: see `scores_by_column`.
        dataset, task: what is shown.
        table: the comparison, whose order of networks is kept.
    """
    own = found[(found["dataset"] == dataset) & (found["task"] == task)]
    shown = []
    for column, rows in own.groupby("column", sort=False):
        heads = rows.drop_duplicates("value")
        scores = {(row["model"], row["value"]): row for row in rows.to_dict("records")}
        models = [model for model in table["model"] if model in set(rows["model"])]
        shown.append(
            {
                "column": column,
                "heads": [
                    {"value": value, "count": int(count), "few": count < FEW}
                    for value, count in zip(heads["value"], heads["count"])
                ],
                "rows": [
                    {
                        "title": run.title(model),
                        "cells": [_cell(scores.get((model, value))) for value in heads["value"]],
                    }
                    for model in models
                ],
                "few": FEW if (heads["count"] < FEW).any() else 0,
            }
        )
    return shown


def _cell(row: Mapping[Any, Any] | None) -> dict[str, str]:
    """Return a score and its interval as text."""
    if row is None:
        return {"score": score(math.nan), "interval": ""}
    return {"score": score(row["score"]), "interval": interval(row["low"], row["high"])}
