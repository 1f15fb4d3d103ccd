"""Scores of single images, of all networks of a dataset and task."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from segbench.contract.run import CellDescription, RunDescription
from segbench.contract.view import Task
from segbench.evaluation.statistics import Statistics
from segbench.evaluation.worst import image_scores

FOLDER = "images"
"""Folder of the files below that of the summary."""


def scored_cells(
    run: RunDescription, cells: pd.DataFrame, dataset: str, model: str, *, seeds: int | None = None
) -> list[CellDescription]:
    """Return the cells of a network on a dataset that are ok; of its first `seeds` seeds, or of all.

    `cells` has the columns of cells.csv.
    """
    own = cells[(cells["dataset"] == dataset) & (cells["model"] == model) & (cells["status"] == "ok")]
    folds = own["fold"].tolist() if "fold" in own else [None] * len(own)
    found = {(int(seed), None if pd.isna(fold) else int(fold)) for seed, fold in zip(own["seed"], folds)}
    chosen = sorted({seed for seed, _ in found})[:seeds]
    return [
        cell
        for cell in run.cells
        if (cell.dataset, cell.model) == (dataset, model)
        and (cell.seed, cell.fold) in found
        and cell.seed in chosen
    ]


def scores_of_images(
    run: RunDescription, cells: pd.DataFrame, dataset: str, task: Task, models: Sequence[str]
) -> pd.DataFrame:
    """Return the score of each image as a mean over the seeds; see `segbench.evaluation.worst.image_scores`.

    Returns:
        Columns image, model, score; rows without a score are skipped.

    Raises:
        SegbenchError: a statistics file is broken.
    """
    rows: list[tuple[str, str, float]] = []
    for model in models:
        for cell in scored_cells(run, cells, dataset, model):
            path = run.folder(cell) / "per_image.parquet"
            if path.exists() and task in (statistics := Statistics(path)).metadata.tasks:
                rows += ((name, model, score) for _, name, score in image_scores(statistics, task))
    found = pd.DataFrame(rows, columns=["image", "model", "score"]).dropna(subset=["score"])
    return found.groupby(["image", "model"], sort=False)["score"].mean().reset_index()


def path_of(summary: Path, dataset: str, task: Task) -> Path:
    """Return the file with the scores of the images of a dataset and task."""
    return summary / FOLDER / f"{dataset}_{task}.csv"


def read_image_scores(summary: Path, dataset: str, task: Task) -> pd.DataFrame:
    """Return the scores of the images that `summarise` wrote, images x networks; NaN where there is none."""
    path = path_of(summary, dataset, task)
    if not path.exists():
        return pd.DataFrame()
    text = {"image": str, "model": str}
    rows = pd.read_csv(path, dtype=text, keep_default_na=False)
    return rows.pivot(index="image", columns="model", values="score")
