from __future__ import annotations

import json
import os
import time
from pathlib import Path

import pytest

from segbench.errors import SegbenchError
from segbench.report.status import newest_run, status

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
