"""Runs with cross-validation: the folds of a seed are one set of images."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from counted import write_counts

from segbench.contract.run import RunDescription
from segbench.evaluation.joined import joined
from segbench.evaluation.pooling import write_scores
from segbench.report.summarise import summarise
from segbench.runs.compare import compare
from segbench.runs.results import read_results
from segbench.runs.verify import verify


def folded(root: Path, shares: np.ndarray) -> Path:
    """Write a run of one network with two folds, of half of the images each."""
    cells = [{"dataset": "cells", "model": "unet", "seed": 0, "fold": k, "task": "semantic"} for k in (0, 1)]
    data = {"cells": {"root": str(root / "data"), "folds": 2}}
    root.mkdir()
    (root / "run.json").write_text(json.dumps({"name": "folded", "cells": cells, "datasets": data}))
    run = RunDescription.read(root / "run.json")
    for cell, own in zip(run.cells, np.split(shares, 2)):
        write_counts(run.folder(cell), own)
        (run.folder(cell) / "state.json").write_text(json.dumps({"step": "evaluate", "state": "ok"}))
    pooled = run.pooled(run.cells[0])
    pooled.mkdir()
    write_scores(joined([run.folder(cell) / "per_image.parquet" for cell in run.cells]), pooled)
    summarise(root / "run.json", root / "summary")
    return root


def test_folds_are_compared_as_one_set_and_verified(tmp_path: Path) -> None:
    shares = np.random.default_rng(0).uniform(0.5, 0.8, 20)
    one, two = folded(tmp_path / "one", shares), folded(tmp_path / "two", shares + 0.1)
    row = compare(read_results(str(one)), read_results(str(two)), 0.005).scores.iloc[0]
    assert row["verdict"] == "differs" and row["paired"] == "images and seeds"
    pooled = [joined([*top.rglob("per_image.parquet")]) for top in (one, two)]
    assert len(pooled[0].metadata.image_ids) == 20 and row["low"] < row["difference"] < row["high"]
    assert row["difference"] == pytest.approx(0.05, abs=0.01)  # of the mean of two classes

    found = verify(RunDescription.read(one / "run.json"))
    assert not found.deviations.found and found.exit_status == 0
    assert found.again.cells[-1] == "cells/unet/seed0-pooled"
    path = one / "cells" / "cells" / "unet" / "seed0-pooled" / "scores.csv"
    path.write_text(path.read_text().replace("semantic,miou,,0.", "semantic,miou,,0.9"))
    assert "seed0-pooled/scores.csv" in verify(RunDescription.read(one / "run.json")).deviations.found[0].file
