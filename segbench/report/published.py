"""Published scores next to those of the run."""

from __future__ import annotations

from typing import Any

import pandas as pd

from segbench.contract.card import Published
from segbench.contract.run import RunDescription
from segbench.data.dataset import Dataset
from segbench.errors import SegbenchError
from segbench.report.summarise import evaluation_split
from segbench.report.tables import header

ENOUGH = 0.99
"""Share of a dataset's images with which scores can be compared: a few broken ones may be missing."""


def published(run: RunDescription, scores: pd.DataFrame) -> list[dict[str, Any]]:
    """Return one row for each published score on a dataset of the run, or on any dataset if the recipe is
    `paper`.

    `ours`, `sd`: mean and standard deviation over the seeds; NaN if the run has no score on the same data,
    also with cross-validation, which has other test images.
    `unlike`: why the scores cannot be compared, although the dataset is the same; empty if they can.
    `reproduced`: whether `ours` is at most the tolerance lower; None if there is nothing to compare.
    """
    rows = []
    folded = [name for name, dataset in run.datasets.items() if dataset.folds]
    scores = scores[~scores["dataset"].isin(folded)]
    for model in run.networks:
        for one in run.models[model].published if model in run.models else ():
            if one.dataset not in run.datasets and run.recipe != "paper":
                continue
            own = scores[(scores["model"] == model) & (scores["dataset"] == one.dataset)]
            own = own[(own["metric"] == one.metric) & (own["class"] == "")]
            own = own.drop_duplicates("seed")  # box AP is scored for two tasks, and equal
            unlike = _difference(run, one)
            compared = not own.empty and not unlike
            rows.append(
                {
                    "title": run.title(model),
                    "where": f"{one.where}, {one.split}",
                    "metric": header(one.metric),
                    "value": one.value,
                    "tolerance": one.tolerance,
                    "ours": own["value"].mean(),
                    "sd": own["value"].std(),
                    "unlike": unlike,
                    "reproduced": own["value"].mean() >= one.value - one.tolerance if compared else None,
                    "source": one.source,
                }
            )
    return rows


def _difference(run: RunDescription, one: Published) -> str:
    """Say how the data and the recipe of a published score differ from those of the run."""
    splits = {evaluation_split(run, cell) for cell in run.cells if cell.dataset == one.dataset}
    others = sorted(splits - {one.split})
    reasons = [one.data] if one.data else []
    reasons += [f"{split}, not {one.split}" for split in others]
    reasons += _parts(run, one)
    if run.recipe not in ("", "paper", "public"):  # other backbones and schedules
        reasons.append(f"recipe {run.recipe}")
    return ", ".join(reasons)


def _parts(run: RunDescription, one: Published) -> list[str]:
    """Name the splits of a dataset that have much fewer images than the full dataset."""
    dataset = run.datasets.get(one.dataset or "")
    if dataset is None or not dataset.images:
        return []
    try:
        found = Dataset(dataset.root).info.splits
    except SegbenchError:  # the converted dataset is gone
        return []
    return [
        f"{found.get(split, 0):,} of {stated:,} images of {split}"
        for split, stated in dataset.images.items()
        if split in ("train", one.split) and found.get(split, 0) < ENOUGH * stated
    ]
