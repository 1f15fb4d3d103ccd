from __future__ import annotations

import io
import json
import os
import time
from pathlib import Path

import pytest
from rich.console import Console

from segbench.contract.run import RunDescription
from segbench.contract.view import Category
from segbench.data.writing.measure import TruthStatistics
from segbench.errors import SegbenchError
from segbench.report.status import newest_run, status
from segbench.report.watch import drawn, watch

SEEDS = {0: "running", 1: "failed", 2: "ok", 3: None}


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """One cell in each state; the running one has done 30 of 150 iterations, one in two seconds."""
    folder = tmp_path / "street"
    cells = [{"dataset": "street", "model": "unet", "seed": seed, "task": "semantic"} for seed in SEEDS]
    description = {
        "name": "street",
        "cells": cells,
        "datasets": {"street": {"root": str(tmp_path / "data")}},
        "config_yaml": "recipes: {unet: {street: {iterations: 150}}}",
    }
    folder.mkdir()
    (folder / "run.json").write_text(json.dumps(description))
    for seed, state in SEEDS.items():
        cell = folder / f"cells/street/unet/seed{seed}"
        cell.mkdir(parents=True)
        log = cell / "log"
        log.write_text("10:00:00 error: loss is nan\n  remedy: lower optimizer.lr\n\n")
        step = "evaluate" if state == "ok" else "train"
        written = {"step": step, "state": state, "reason": "loss is nan", "node": "gpu7", "log": str(log)}
        if state == "ok":
            (cell / "scores.csv").touch()
        if state:
            (cell / "state.json").write_text(json.dumps(written))
    history = folder / "cells/street/unet/seed0/history.partial.csv"
    rows = [f"{i},0.1,{3.0 / i},{100 + 2.0 * i}" for i in range(1, 31)]
    history.write_text("\n".join(["iteration,lr,total,seconds", *rows]) + "\n31,0.1,0.0")
    for path in history.parent.iterdir():
        os.utime(path, (time.time() - 100,) * 2)
    return folder


def test_running_and_failed_cells_are_told_of(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    status(run)
    text = capsys.readouterr().out
    assert "run 'street': 4 cells: 1 running, 1 failed, 1 ok, 1 pending" in text
    assert "running  street/unet/seed0: train 30/150, loss 0.1, 0:04:00 left, last sign 0:01:40 ago" in text
    assert "failed  street/unet/seed1: loss is nan\n      remedy: lower optimizer.lr\n" in text
    assert "seed2" not in text and "seed3" not in text
    status(run / "run.json", everything=True)
    text = capsys.readouterr().out
    assert "  ok  street/unet/seed2" in text and "  pending  street/unet/seed3: not started" in text


def test_a_cell_waits_for_the_one_that_it_starts_from(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    description = json.loads((run / "run.json").read_text())
    fcn = {"dataset": "street", "model": "fcn", "task": "semantic"}
    starts = {0: "street/unet/seed1", 1: "street/unet/seed2"}
    description["cells"] += [{**fcn, "seed": seed, "start": first} for seed, first in starts.items()]
    (run / "run.json").write_text(json.dumps(description))
    status(run, everything=True)
    text = capsys.readouterr().out
    assert "pending  street/fcn/seed0: starts from street/unet/seed1, which is failed" in text
    assert "pending  street/fcn/seed1: not started" in text


def test_long_histories_are_read_from_the_end(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = [f"{i},0.1,{3.0 / i},{i / 4}" for i in range(1, 100_001)]
    path = run / "cells/street/unet/seed0/history.partial.csv"
    path.write_text("\n".join(["iteration,lr,total,seconds", *rows]) + "\n")
    status(run)
    assert "train 100000/150" in capsys.readouterr().out


@pytest.mark.parametrize("content", ["", "iteration,lr,total,seconds\n", "iteration,lr,total,seconds\n1,0"])
def test_a_training_that_has_just_begun(run: Path, content: str, capsys: pytest.CaptureFixture[str]) -> None:
    (run / "cells/street/unet/seed0/history.partial.csv").write_text(content)
    status(run)
    assert (
        "running  street/unet/seed0: train, remedy: lower optimizer.lr, last sign" in capsys.readouterr().out
    )


def test_the_newest_run_is_the_default(run: Path) -> None:
    results = run.parent
    (results / "older").mkdir()
    (results / "older" / "run.json").write_text("{}")
    os.utime(results / "older" / "run.json", (1, 1))
    assert newest_run(results) == run / "run.json"
    with pytest.raises(SegbenchError, match="no run has been started here"):
        newest_run(results / "older")


def test_the_newest_metric_of_a_validation_is_shown(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    history = run / "cells/street/unet/seed0/history.partial.csv"
    rows = [f"{i},1.5,{i},{'0.5,0.625' if i == 2 else ','}" for i in range(1, 5)]
    header = "iteration,total,seconds,validation,validation_score"
    history.write_text("\n".join([header, *rows]) + "\n")
    status(run)
    assert "train 4/150, loss 1.5, validation 0.625, 0:02:26 left" in capsys.readouterr().out


def with_fitted_recipe(run: Path) -> None:
    """Let the recipe derive its iterations from a dataset of two classes and 1,600 images."""
    measures = TruthStatistics(
        [Category(id=1, name="a", isthing=False, color=(1, 1, 1))], background=True, overlapping=False
    )
    measures.add(8, 8, None, [])
    statistics = {**measures.result().model_dump(), "images": 1600}
    (run.parent / "data").mkdir()
    info = {"categories": [{"id": 1, "name": "a", "isthing": False, "color": [1, 1, 1]}]}
    (run.parent / "data" / "dataset.json").write_text(json.dumps({**info, "statistics": statistics}))
    recipe = {"iterations": None, "batch_size": 2, "pretrained": "resnet50", "fit": {"iterations": 100}}
    description = json.loads((run / "run.json").read_text())
    description["config_yaml"] = json.dumps({"recipes": {"unet": {"street": recipe}}})
    description["models"] = {"unet": {"title": "U-Net"}}
    (run / "run.json").write_text(json.dumps(description))


def test_iterations_of_a_fitted_recipe(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The factor is the fourth root of 16."""
    with_fitted_recipe(run)
    status(run)
    assert "train 30/200, loss 0.1, 0:05:40 left" in capsys.readouterr().out
    (run.parent / "data" / "dataset.json").unlink()
    status(run)
    assert "train 30/?, loss 0.1, last sign" in capsys.readouterr().out


def test_watching_ends_with_the_last_cell(run: Path) -> None:
    console, waits = Console(file=io.StringIO(), width=200, force_terminal=False), []

    def pause(seconds: float) -> None:
        waits.append(seconds)
        for seed in (0, 3):  # the running cell ends, and the pending one
            cell = run / f"cells/street/unet/seed{seed}"
            written = {
                "step": "evaluate",
                "state": "ok" if seed else "failed",
                "reason": "no truth",
                "log": "",
            }
            (cell / "state.json").write_text(json.dumps(written))
            (cell / "scores.csv").touch()

    shown, over = drawn(RunDescription.read(run / "run.json"))
    assert not over
    console.print(shown)
    text = console.file.getvalue()  # type: ignore[attr-defined]
    assert "street: 1 running, 1 failed, 1 ok, 1 pending" in text
    assert "street/unet/seed0" in text and "30/150" in text and "4 min" in text
    assert "street/unet/seed1: failed: loss is nan" in text
    watch(run / "run.json", console, pause)
    assert len(waits) == 1
    assert "street: 2 failed, 2 ok" in console.file.getvalue()  # type: ignore[attr-defined]
