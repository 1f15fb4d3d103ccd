"""What the page says about the order of the networks: the best, ties, and how sure that is."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from segbench.comparison.compare import Comparison
from segbench.comparison.orders import WAYS
from segbench.comparison.words import listed, p_text
from segbench.contract.run import RunDescription
from segbench.contract.view import TASKS, Task
from segbench.report.tables import header, interval, metrics_of, score

NOT_TESTED = "Not tested: no two networks have per-image statistics of this metric on the same images."


def _of(frame: pd.DataFrame, dataset: str, task: Task) -> pd.DataFrame:
    return frame[(frame["dataset"] == dataset) & (frame["task"] == task)]


def best(
    run: RunDescription, compared: Comparison, dataset: str, task: Task, table: pd.DataFrame
) -> dict[str, Any] | None:
    """Return the network with the best score, its costs, and whether it is ahead of the others or tied.

    `ties` names those that the test cannot part from it; None if nothing was tested.
    """
    metric = metrics_of(table)[0]
    networks = table[~table["control"] & table[metric].notna()]
    if networks.empty:
        return None
    first = networks.iloc[0]
    found: dict[str, Any] = {
        "title": run.title(first["model"]),
        "metric": header(metric),
        "score": score(first[metric], first[f"{metric}_sd"]),
        "interval": interval(first[f"{metric}_low"], first[f"{metric}_high"]),
        "row": first,
        "next": None,
        "ties": None,
        "cheapest": None,
    }
    if len(networks) > 1:
        second = networks.iloc[1]
        found |= {"next": run.title(second["model"]), "margin": first[metric] - second[metric]}
    pairs = _of(compared.pairs, dataset, task)
    own = pairs[pairs["better"] == first["model"]]
    if not own.empty:
        nearest = own.iloc[0]
        tied = own.loc[~own["parted"], "worse"].tolist()
        ties = [run.title(model) for model in tied]
        found |= {
            "ties": ties,
            "tied_with": listed(ties) if ties else "",
            "next": run.title(nearest["worse"]),
            "margin": nearest["difference"],
            "bounds": interval(nearest["low"], nearest["high"]),
            "p": p_text(nearest["p_holm"]),
            "equivalent": bool(nearest["equivalent"]),
            "cheapest": _fastest(run, networks[networks["model"].isin([first["model"], *tied])]),
        }
    return found


def _fastest(run: RunDescription, networks: pd.DataFrame) -> dict[str, Any] | None:
    """Return the network with the lowest latency; None if it is the first, or nothing is known."""
    latency = networks["predict_latency_median"].to_numpy(float)
    if np.isnan(latency).all() or np.nanargmin(latency) == 0:
        return None
    row = networks.iloc[int(np.nanargmin(latency))]
    return {
        "title": run.title(row["model"]),
        "latency": row["predict_latency_median"],
        "parameters": row["train_parameters"],
    }


def order(
    run: RunDescription, compared: Comparison, dataset: str, task: Task, table: pd.DataFrame
) -> dict[str, Any]:
    """Return the paragraph about one dataset and task, the ranks in the draws, and the baseline view."""
    words = _of(compared.words, dataset, task)["text"].tolist()
    places = _of(compared.places, dataset, task)
    networks = (~table["control"] & table[metrics_of(table)[0]].notna()).sum()
    left_out = _of(compared.left_out, dataset, task)
    return {
        "text": words[0] if words else NOT_TESTED if networks > 1 else "",
        "places": [{**row, "title": run.title(row["model"])} for row in places.to_dict("records")],
        "baseline": [
            {**row, "title": run.title(row["model"]), "bounds": interval(row["low"], row["high"])}
            for row in _of(compared.baseline, dataset, task).to_dict("records")
        ],
        "left_out": [
            {"titles": listed([run.title(model) for model in models]), "reason": reason}
            for reason, models in left_out.groupby("reason", sort=False)["model"]
        ],
    }


def across(
    run: RunDescription,
    compared: Comparison,
    plots: Mapping[Task, list[dict[str, str]]],
) -> list[dict[str, Any]]:
    """Return what the page shows about each task over all datasets, with its `plots`."""
    found = []
    for task in (task for task in TASKS if task in set(compared.networks["task"])):
        rows = compared.networks[compared.networks["task"] == task]
        words = _of(compared.words, "", task)["text"].tolist()
        test = compared.tests[compared.tests["task"] == task].iloc[0]
        own = compared.matrix[compared.matrix["task"] == task]
        ranked = rows.loc[rows["ranked"], "model"].tolist()
        cells = {(row["a"], row["b"]): _cell(row) for row in own.to_dict("records")}
        found.append(
            {
                "task": task,
                "datasets": int(test["datasets"]),
                "missing": int(test["missing"]),
                "text": words[0] if words else "",
                "rows": [{**row, "title": run.title(row["model"])} for row in rows.to_dict("records")],
                "ways": WAYS,
                "matrix": [
                    {"title": run.title(a), "cells": [cells.get((a, b)) for b in ranked]} for a in ranked
                ]
                if cells
                else [],
                "names": [run.title(model) for model in ranked],
                "plots": plots[task],
            }
        )
    return found


def _cell(row: Mapping[Any, Any]) -> dict[str, Any]:
    """Return one cell of the matrix of wins, ties and losses."""
    title = f"probability of improvement {row['improvement']:.2f} {interval(row['low'], row['high'])}"
    if not math.isnan(row["p"]):
        title += f", {p_text(row['p'])} over the datasets"
    sign = "win" if row["wins"] > row["losses"] else "loss" if row["wins"] < row["losses"] else ""
    text = f"{row['wins']:.0f}–{row['ties']:.0f}–{row['losses']:.0f}"
    return {"text": text, "improvement": row["improvement"], "title": title, "sign": sign}
