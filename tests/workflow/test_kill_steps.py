"""Each step is killed at a random moment; the same command again leaves its results only, the same ones."""

from __future__ import annotations

import hashlib
import json
import multiprocessing
import os
import random
import shutil
import sys
import time
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from segbench.contract.cell import CellSpec

SERVER = multiprocessing.get_context("forkserver")
MODULES = ("segbench.data.convert", "segbench.evaluation.runner.evaluate", "segbench.report.page")
MODULES += (
    "segbench.report.summarise",
    "segbench.training.runner.train",
    "segbench.prediction.runner.predict",
)
TIMED = {"state.json", "training.json", "efficiency.json", "history.csv", "history.partial.csv"}
TIMED |= {"model.pt", "checkpoint.pt", "cells.csv", "x.zip.json"}
"""Files that hold times; and where an archive came from, which is "by hand" if it was there already."""
KILLS = 3

CONVERT = {
    "title": "Vessels", "convert": "segbench.data.generated.vessels:convert", "tasks": ["semantic"],
    "channels": 3, "licence": "CC0-1.0", "citation": "",
    "options": {"size": [64, 64], "images": {"train": 4, "test": 4}},
}  # fmt: skip
CELL = CellSpec.model_validate(
    {
        "class_path": "segbench.models.unet:UNet",
        "options": {"widths": [2, 4]},
        "task": "semantic",
        "seed": 0,
        "recipe": {"iterations": 20, "batch_size": 2, "augment": {"crop": [32, 32]}, "precision": "fp32"},
    }
)
RUN = {
    "name": "run", "recipe": "demo", "skipped": [], "config_yaml": "", "options": {"gallery_images": 1},
    "cells": [{"dataset": "vessels", "model": "unet", "seed": 0, "task": "semantic", "control": False}],
    "datasets": {
        "vessels": {"root": "data/vessels", "title": "Vessels", "state": "results/datasets/vessels"}
    },
    "models": {"unet": {"title": "U-Net", "card": {}, "published": []}},
}  # fmt: skip
FOLDER = "results/cells/vessels/unet/seed0"
STEPS: dict[str, list[str]] = {
    "fetch": ["fetch", "x.zip", "--out", "archives/x.zip", "--record", "archives/x.zip.json",
              "--mirror", "mirror", "--spec", '{"manual": "ask"}'],
    "convert": ["convert", "vessels", "--out", "data/vessels", "--archive", "archives/x.zip",
                "--spec", json.dumps(CONVERT), "--state", "results/datasets/vessels"],
    "train": ["train", "--data", "data/vessels", "--out", FOLDER, "--spec", CELL.model_dump_json(),
              "--threads", "1", "--device", "cpu"],
    "predict": ["predict", "--data", "data/vessels", "--out", f"{FOLDER}/predictions",
                "--model", f"{FOLDER}/model.pt", "--threads", "1", "--device", "cpu"],
    "evaluate": ["evaluate", "--data", "data/vessels", "--predictions", f"{FOLDER}/predictions",
                 "--out", FOLDER],
    "summarise": ["summarise", "results/run.json", "--out", "results/summary"],
    "report": ["report", "results/run.json", "--summary", "results/summary", "--out", "results/report"],
}  # fmt: skip


def segbench(root: Path, arguments: list[str]) -> None:
    """The body of a process: the command line in the folder `root`."""
    from segbench.cli import main

    os.chdir(root)
    sys.argv = ["segbench", *arguments]
    with (root.parent / "output").open("w") as file:
        os.dup2(file.fileno(), 2)
        main()


def start(root: Path, step: str) -> Any:
    process = SERVER.Process(target=segbench, args=(root, STEPS[step]))
    process.start()
    return process


def contents(root: Path) -> dict[str, str]:
    """What each file holds; of files with times only that they are there."""
    return {
        str(path.relative_to(root)): ""
        if path.is_dir() or path.name in TIMED
        else hashlib.sha256(path.read_bytes()).hexdigest()
        for path in root.rglob("*")
    }


@pytest.fixture(scope="module")
def stages(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], tuple[Path, Path, float]]:
    """For a step, the folder as it is before and after it, and how long it takes; made once."""
    SERVER.set_forkserver_preload(list(MODULES))
    root = tmp_path_factory.mktemp("stages")
    first = root / "before-fetch"
    (first / "mirror").mkdir(parents=True)
    with zipfile.ZipFile(first / "mirror/x.zip", "w") as file:
        for i in range(50):
            file.writestr(f"{i}.bin", random.Random(i).randbytes(20_000))
    checksum = hashlib.sha256((first / "mirror/x.zip").read_bytes()).hexdigest()
    (first / "mirror/SHA256SUMS").write_text(f"{checksum}  x.zip\n")
    (first / "results").mkdir()
    (first / "results/run.json").write_text(json.dumps(RUN))
    done: dict[str, tuple[Path, Path, float]] = {}

    def make(wanted: str) -> tuple[Path, Path, float]:
        before = first
        for step in STEPS:
            if step not in done:
                after = Path(shutil.copytree(before, root / step / "work", symlinks=True))
                began = time.monotonic()
                process = start(after, step)
                process.join(60)
                assert process.exitcode == 0, (after.parent / "output").read_text()
                done[step] = (before, after, time.monotonic() - began)
            if step == wanted:
                return done[step]
            before = done[step][1]
        raise AssertionError(wanted)

    return make


@pytest.mark.slow
@pytest.mark.parametrize("step", STEPS)
def test_a_kill_and_the_same_command_again(step: str, stages, tmp_path: Path) -> None:
    seed = random.randrange(10**6)
    print(f"seed {seed}")
    draw = random.Random(seed)
    before, after, usual = stages(step)
    work = Path(shutil.copytree(before, tmp_path / "work"))
    for _ in range(KILLS):
        process = start(work, step)
        process.join(draw.uniform(0, usual))
        process.kill()
        process.join()
    process = start(work, step)
    process.join(60)
    assert process.exitcode == 0, (tmp_path / "output").read_text()
    assert contents(work) == contents(after)
    if step == "train":
        results = (json.loads((r / FOLDER / "training.json").read_text()) for r in (work, after))
        assert len({result["weights_digest"] for result in results}) == 1
