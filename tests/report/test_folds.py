"""Cross-validation in the tables and on the page."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pandas as pd
import pytest
from fake_run import make_run, make_scores, write

from segbench.contract.run import RunDescription, fold_folder
from segbench.report.cell_status import cell_status
from segbench.report.page import report
from segbench.report.plots import read_histories
from segbench.report.summarise import read_pooled, read_summary, summarise

SEEDS = FOLDS = 2


@pytest.fixture(scope="module")
def folded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of two seeds whose cells became folds: each cell twice, and the pooled scores."""
    root = tmp_path_factory.mktemp("run")
    path = make_run(root, datasets=("vessels",), images=2, size=(40, 60), formats=["svg"])
    raw = json.loads(path.read_text())
    data = root / "data" / "vessels"
    raw["datasets"]["vessels"]["folds"] = FOLDS
    cells = []
    for cell in raw["cells"]:
        place = path.parent / "cells" / "vessels" / cell["model"]
        plain = place / f"seed{cell['seed']}"
        for fold in range(FOLDS):
            folder = place / f"seed{cell['seed']}-fold{fold}"
            shutil.copytree(plain, folder)
            make_scores(folder, "vessels", "semantic", 0.3 + 0.2 * fold, 10 * cell["seed"] + fold)
            cells.append({**cell, "fold": fold})
        make_scores(place / f"seed{cell['seed']}-pooled", "vessels", "semantic", 0.45, cell["seed"])
        shutil.rmtree(plain)
    for fold in range(FOLDS):
        shutil.copytree(data / "test", fold_folder(data, FOLDS, fold) / "test")
        shutil.copy(data / "dataset.json", fold_folder(data, FOLDS, fold))
    write(path, raw | {"cells": cells})
    return path


def miou(folder: Path) -> float:
    scores = pd.read_csv(folder / "scores.csv", keep_default_na=False)
    return float(scores[(scores["metric"] == "miou") & (scores["class"] == "")]["value"].item())


def test_the_table_has_mean_spread_and_pooled_score(folded: Path, tmp_path: Path) -> None:
    summarise(folded, tmp_path / "summary")
    table = pd.read_csv(tmp_path / "summary/tables/vessels_semantic.csv").set_index("model")
    cells = folded.parent / "cells/vessels/unet"
    values = pd.Series([miou(cells / f"seed{s}-fold{f}") for s in range(SEEDS) for f in range(FOLDS)])
    own = table.loc["unet"]
    assert own["miou"] == pytest.approx(values.mean()) and own["miou_sd"] == pytest.approx(values.std())
    pooled = [miou(cells / f"seed{s}-pooled") for s in range(SEEDS)]
    assert own["miou_pooled"] == pytest.approx(sum(pooled) / SEEDS)
    assert (own["seeds"], own["planned"]) == (4, 4)
    lines = (tmp_path / "summary/tables/vessels_semantic.md").read_text()
    assert "| mIoU pooled | Cells |" in lines and "Cross-validation: mean" in lines
    scores, statuses = read_summary(tmp_path / "summary")
    assert set(scores["fold"]) == set(statuses["fold"].dropna()) == {0, 1}
    found = read_pooled(tmp_path / "summary")
    assert found is not None and "fold" not in found and found["low"].notna().any()


def test_a_failed_fold_is_named_and_its_pooled_score_dropped(folded: Path, tmp_path: Path) -> None:
    root = tmp_path / "copy"
    shutil.copytree(folded.parent, root)
    state = root / "cells/vessels/unet/seed1-fold0/state.json"
    write(state, {"step": "train", "state": "failed", "reason": "diverged", "log": ""})
    summarise(root / "run.json", tmp_path / "summary")
    own = pd.read_csv(tmp_path / "summary/tables/vessels_semantic.csv").set_index("model").loc["unet"]
    assert own["reason"] == "seed 1 fold 0: diverged" and (own["seeds"], own["planned"]) == (3, 4)
    assert own["miou_pooled"] == pytest.approx(miou(root / "cells/vessels/unet/seed0-pooled"))


def test_the_page_shows_folds(folded: Path, tmp_path: Path) -> None:
    summarise(folded, tmp_path / "summary")
    report(folded, tmp_path / "summary", tmp_path / "report")
    page = (tmp_path / "report/index.html").read_text()
    assert "mIoU pooled" in page and "2 folds" in page
    assert "one point for each fold of each seed" in page and "the first seed and fold of each" in page
    run = RunDescription.read(folded)
    histories = read_histories(run, "vessels")
    assert len(histories[histories["model"] == "unet"].drop_duplicates(["seed", "fold"])) == 4
    assert all(cell_status(run, cell).status == "ok" for cell in run.cells)


def test_without_folds_nothing_is_added(tmp_path: Path) -> None:
    path = make_run(tmp_path, datasets=("vessels",), seeds=(0,), images=1, size=(40, 60))
    summarise(path, tmp_path / "summary")
    assert not (tmp_path / "summary/pooled.csv").exists()
    for name in ("scores", "cells", "tables/vessels_semantic"):
        columns = pd.read_csv(tmp_path / f"summary/{name}.csv").columns
        assert "fold" not in columns and not columns.str.endswith("_pooled").any()
    assert '"fold' not in RunDescription.read(path).model_dump_json()
