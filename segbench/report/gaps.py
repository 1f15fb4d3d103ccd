"""The gap between the scores on the training split and on the evaluation split."""

from __future__ import annotations

import math
from typing import Any

import pandas as pd

from segbench.contract.run import RunDescription
from segbench.contract.view import TASKS
from segbench.report.cell_status import cell_status
from segbench.report.tables import main_scores, repetitions

COLUMNS = ["dataset", "task", "model", "metric", "derived", "cells", "train", "evaluation", "gap", "reason"]


def gaps(run: RunDescription, scores: pd.DataFrame) -> pd.DataFrame:
    """Compare the primary scores of each network on both splits of each dataset.

    Args:
        run: the run.
        scores: all scores, with the column `split`; see `segbench.report.summarise.collect`.

    Returns:
        A row for each dataset, task and network with a score on the evaluation split. `cells`: number of
        seeds and folds that have both scores. `train`, `evaluation`: mean over these. `gap`: `train` -
        `evaluation`. `reason`: why the training split has no score.
    """
    if "train" not in run.score_splits:
        return pd.DataFrame(columns=COLUMNS)
    scores = scores.assign(repetition=repetitions(scores))
    trained = list(dict.fromkeys(cell.model for cell in run.cells if cell.trained and not cell.control))
    rows: list[dict[str, Any]] = []
    for dataset, task in ((d, t) for d in run.datasets for t in TASKS):
        both = {
            name: main_scores(run, scores[(scores["split"] == "train") == (name == "train")], dataset, task)
            for name in ("train", "evaluation")
        }
        if both["evaluation"].empty:
            continue
        metric = both["evaluation"]["column"].iloc[0]
        for model in trained:
            values = {
                name: own[(own["model"] == model) & (own["column"] == metric)].set_index("repetition")
                for name, own in both.items()
            }
            if values["evaluation"].empty:
                continue
            pairs = pd.DataFrame({name: own["value"] for name, own in values.items()}).dropna()
            means = pairs.mean()
            rows.append(
                {
                    "dataset": dataset,
                    "task": task,
                    "model": model,
                    "metric": metric,
                    "derived": bool(values["evaluation"]["derived"].any()),
                    "cells": len(pairs),
                    "train": means.get("train", math.nan),
                    "evaluation": means.get("evaluation", math.nan),
                    "gap": means.get("train", math.nan) - means.get("evaluation", math.nan),
                    "reason": "; ".join(_reasons(run, dataset, model)),
                }
            )
    return pd.DataFrame(rows, columns=COLUMNS)


def _reasons(run: RunDescription, dataset: str, model: str) -> list[str]:
    """Return why cells have no scores on the training split."""
    found = [
        cell_status(run, cell, "train")
        for cell in run.cells
        if (cell.dataset, cell.model) == (dataset, model)
    ]
    return list(dict.fromkeys(f"{one.status}: {one.reason}" for one in found if one.status != "ok"))
