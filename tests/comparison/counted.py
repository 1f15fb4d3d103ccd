"""Files of per-image statistics of one class on a background, made from counts, and a run of such cells."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from segbench.contract.evaluation import EvaluationOptions
from segbench.contract.view import BACKGROUND, Category
from segbench.evaluation.pooling import write_scores
from segbench.evaluation.statistics import Metadata, Rows, Statistics, TaskSettings, Writer

CELL = Category(id=1, name="cell", isthing=True, color=(9, 9, 9))
TRUE, EMPTY = 1000, 9000
"""Pixels of the class and of the background in each image."""


def write_counts(
    folder: Path,
    found: np.ndarray,
    groups: list[str | None] | None = None,
    samples: int = 200,
    truth: np.ndarray | None = None,
) -> Statistics:
    """Write per_image.parquet and the scores of a cell that finds these shares of the class in the images.

    `truth`: the images that have the class; None: all.
    """
    ids = range(1, 1 + len(found))
    has = np.ones(len(found), bool) if truth is None else truth
    options = EvaluationOptions(families=(), bootstrap_samples=samples)
    settings = {"semantic": TaskSettings((BACKGROUND, CELL))}
    metadata = Metadata(options, settings, tuple(ids), tuple(groups) if groups else None)
    with Writer(folder / "per_image.parquet", metadata) as writer:
        rows = Rows("semantic")
        for number, share, true in zip(ids, found, has):
            hit = round(float(np.clip(share, 0, 1)) * TRUE)
            rows.add(number, f"image{number}", 0, predicted=[0, 1], pixels=[EMPTY - 100, 100])
            if true:
                rows.add(number, f"image{number}", 1, predicted=[1, 0], pixels=[hit, TRUE - hit])
        writer.add(rows.batch())
    statistics = Statistics(folder / "per_image.parquet")
    write_scores(statistics, folder)
    return statistics


def write_run(root: Path, shares: dict[tuple[str, str, int], np.ndarray], **options: object) -> Path:
    """Write a run whose cells (dataset, network, seed) find these shares; returns its run.json."""
    cells = []
    for (dataset, model, seed), found in shares.items():
        cell = {"dataset": dataset, "model": model, "seed": seed, "task": "semantic"}
        cells.append(cell | {"control": model.startswith("control_")})
        folder = root / "cells" / dataset / model / f"seed{seed}"
        write_counts(folder, found)
        (folder / "state.json").write_text(json.dumps({"step": "evaluate", "state": "ok"}))
    names = dict.fromkeys(dataset for dataset, *_ in shares)
    run = {
        "name": "counted",
        "cells": cells,
        "datasets": {name: {"root": str(root / "data" / name), "title": name.upper()} for name in names},
        "options": {"formats": ["svg"], **options},
    }
    path = root / "run.json"
    path.write_text(json.dumps(run))
    return path
