"""The first table of the page: networks x datasets, with all metrics that can be chosen there."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import pandas as pd

from segbench.contract.run import RunDescription
from segbench.contract.view import Task
from segbench.report.tables import DERIVED, best_of, header, interval, metrics_of, part_of, ranked, score
from segbench.units import NOTHING

Tables = Mapping[tuple[str, Task], pd.DataFrame]


def matrix(run: RunDescription, tables: Tables) -> dict[str, Any]:
    """Return columns and rows of the matrix.

    A column is a dataset, task and metric; those of the metrics that rank the networks are `primary`, the
    others are hidden at first. Rows are networks, by the number of primary columns in which they are the best
    or tied with it, then the best, then controls. A cell is None where a network was not planned.

    Args:
        tables: with intervals; see `segbench.report.intervals.with_intervals`.
    """
    columns, values = [], []
    for (dataset, task), table in tables.items():
        own = table.set_index("model")
        for place, metric in enumerate(metrics_of(table)):
            columns.append(
                {
                    "dataset": dataset,
                    "title": run.dataset_title(dataset),
                    "task": task,
                    "metric": header(metric),
                    "primary": place == 0,
                }
            )
            values.append(_column(own, table, metric, place == 0))
    rows: list[dict[str, Any]] = []
    for model in [*run.networks, *run.controls]:
        cells = [column.get(model) for column in values]
        if any(cells):
            primary = [c for c, column in zip(cells, columns) if c and column["primary"]]
            first, best = (sum(c[kind] for c in primary) for kind in ("top", "best"))
            row = {"title": run.title(model), "control": model in run.controls, "cells": cells}
            rows.append({**row, "first": first, "best": best})
    rows.sort(key=lambda row: (row["control"], -row["first"], -row["best"]))
    return {"columns": columns, "rows": rows, "derived": any(t["derived"].any() for t in tables.values())}


def _column(own: pd.DataFrame, table: pd.DataFrame, metric: str, primary: bool) -> dict[str, dict[str, Any]]:
    """Return the cells of one column by model."""
    best = set(best_of(table, metric)["model"]) if (~table["control"]).sum() > 1 else set()
    tested = primary and ranked(table)
    cells = {}
    for model, row in own.iterrows():
        ok = row["status"] == "ok"
        letters = row["letters"] if tested else ""
        top = bool(letters) and row["rank"] == 1 if tested else model in best
        cells[str(model)] = {
            "text": score(row[metric]) if ok else row["status"],
            "failed": not ok,
            "part": part_of(row),
            "known": ok and score(row[metric]) != NOTHING,
            "mark": DERIVED if primary and ok and row["derived"] else "",
            "best": ok and model in best,
            "top": ok and top and not row["control"],
            "letters": letters,
            "interval": interval(row.get(f"{metric}_low", math.nan), row.get(f"{metric}_high", math.nan))
            if primary and ok
            else "",
        }
    return cells
