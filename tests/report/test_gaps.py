"""The scores on the training split in the tables and on the page."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pandas as pd
import pytest
from fake_run import make_run, make_scores, write

from segbench.contract.run import RunDescription
from segbench.report.overview import overview
from segbench.report.page import report
from segbench.report.summarise import read_summary, summarise


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_run(
        tmp_path_factory.mktemp("plain"), datasets=("vessels",), images=2, size=(40, 60), formats=["svg"]
    )


@pytest.fixture(scope="module")
def run(plain: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same run, of which the training split is scored, too; not that of the last network and seed."""
    root = tmp_path_factory.mktemp("run") / "run"
    shutil.copytree(plain.parent, root)
    raw = json.loads((root / "run.json").read_text())
    for cell in raw["cells"]:
        if not cell["control"] and (cell["model"], cell["seed"]) != ("fcn8s_vgg16", 1):
            folder = root / f"cells/vessels/{cell['model']}/seed{cell['seed']}/train"
            make_scores(folder, "vessels", "semantic", 0.9, cell["seed"])
            write(folder / "state.json", {"step": "evaluate", "state": "ok", "reason": "", "log": ""})
    failed = {"step": "predict", "state": "out-of-memory", "reason": "needs 9 GB", "log": ""}
    write(root / "cells/vessels/fcn8s_vgg16/seed1/train/state.json", failed)
    write(root / "run.json", raw | {"score_splits": ["train", "test"]})
    return root / "run.json"


def miou(folder: Path) -> float:
    scores = pd.read_csv(folder / "scores.csv", keep_default_na=False)
    return float(scores[(scores["metric"] == "miou") & (scores["class"] == "")]["value"].item())


def test_the_gap_of_each_network(run: Path, tmp_path: Path) -> None:
    summarise(run, tmp_path)
    gaps = pd.read_csv(tmp_path / "gaps.csv", keep_default_na=False).set_index("model")
    assert set(gaps.index) == {"unet", "fcn8s_vgg16", "mask2former_resnet50"}, "controls have none"
    cells = run.parent / "cells/vessels"
    train = [miou(cells / f"unet/seed{seed}/train") for seed in (0, 1)]
    evaluation = [miou(cells / f"unet/seed{seed}") for seed in (0, 1)]
    own = gaps.loc["unet"]
    assert (own["metric"], own["cells"], own["reason"]) == ("miou", 2, "")
    assert own["train"] == pytest.approx(sum(train) / 2)
    assert own["evaluation"] == pytest.approx(sum(evaluation) / 2)
    assert own["gap"] == pytest.approx(sum(train) / 2 - sum(evaluation) / 2)
    partly = gaps.loc["fcn8s_vgg16"]
    assert (partly["cells"], partly["reason"]) == (1, "out-of-memory: needs 9 GB")
    assert partly["gap"] == pytest.approx(
        miou(cells / "fcn8s_vgg16/seed0/train") - miou(cells / "fcn8s_vgg16/seed0")
    )


def test_scores_have_the_split_and_the_tables_do_not_change(run: Path, plain: Path, tmp_path: Path) -> None:
    summarise(plain, tmp_path / "plain")
    summarise(run, tmp_path / "both")
    both = pd.read_csv(tmp_path / "both/scores.csv")
    assert set(both["split"]) == {"train", "test"}
    before = pd.read_csv(tmp_path / "plain/scores.csv")
    assert "split" not in before and not (tmp_path / "plain/gaps.csv").exists()
    assert len(both[both["split"] == "test"]) == len(before)
    for name in ("tables/vessels_semantic.csv", "cells.csv", "comparison/networks.csv"):
        assert (tmp_path / "both" / name).read_text() == (tmp_path / "plain" / name).read_text()
    pd.testing.assert_frame_equal(read_summary(tmp_path / "both")[0], read_summary(tmp_path / "plain")[0])
    frames = [overview(RunDescription.read(path)) for path in (run, plain)]
    pd.testing.assert_frame_equal(*frames)


def test_the_page_shows_the_gap(run: Path, tmp_path: Path) -> None:
    summarise(run, tmp_path / "summary")
    report(run, tmp_path / "summary", tmp_path / "report")
    page = (tmp_path / "report/index.html").read_text()
    assert "Training against evaluation split" in page and "Vessels (generated), semantic: mIoU" in page
    assert "out-of-memory: needs 9 GB" in page


def test_a_training_split_without_scores_yet(plain: Path, tmp_path: Path) -> None:
    shutil.copytree(plain.parent, tmp_path / "run")
    raw = json.loads(plain.read_text())
    write(tmp_path / "run/run.json", raw | {"score_splits": ["train", "test"]})
    summarise(tmp_path / "run/run.json", tmp_path / "summary")
    gaps = pd.read_csv(tmp_path / "summary/gaps.csv")
    assert gaps["cells"].eq(0).all() and gaps["gap"].isna().all()
    assert gaps["reason"].eq("pending: not started").all()
