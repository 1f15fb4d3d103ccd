"""Small runs whose scores follow from their per-image statistics."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from edited import edit
from fake_run import make_run

from segbench.contract.evaluation import EvaluationOptions
from segbench.contract.run import RunDescription
from segbench.evaluation.runner.evaluate import evaluate
from segbench.report.summarise import summarise

MODELS = ("unet", "mask_rcnn_resnet50_fpn", "control_random", "control_truth")
IMAGES = 12


@pytest.fixture(scope="session")
def scored(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of a run: two networks and two controls on `bubbles`, two seeds. Do not change it."""
    path = make_run(tmp_path_factory.mktemp("runs"), ("bubbles",), images=IMAGES, size=(48, 64))
    edit(path, cells=[c for c in json.loads(path.read_text())["cells"] if c["model"] in MODELS])
    run = RunDescription.read(path)
    options = EvaluationOptions(families=(), bootstrap_samples=20)
    for cell in run.cells:
        folder = run.folder(cell)
        evaluate(run.data(cell), folder / "predictions", folder, options=options)
    for folder in (path.parent / "cells" / "bubbles").iterdir():
        if folder.name not in MODELS:
            shutil.rmtree(folder)
    summarise(path, path.parent / "summary")
    return path.parent


@pytest.fixture
def run(scored: Path, tmp_path: Path) -> Path:
    """A copy of `scored` to change; the dataset stays where it is."""
    folder = tmp_path / "results" / "demo"
    shutil.copytree(scored, folder)
    return folder
