"""A run of the whole pipeline, from a generated dataset to the report, in a temporary folder."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import yaml

from segbench.files import read_json

ROOT = Path(__file__).resolve().parents[2]
NEEDED = ("Snakefile", "workflow", "config", "profiles", "segbench", "pyproject.toml")
SMALL = {"vessels": {"size": [64, 64], "images": {"train": 4, "test": 2}}}


def configuration(device: str, networks: list[str], iterations: int, crop: int) -> dict[str, Any]:
    """Return a configuration whose trainings are short, with random weights."""
    recipe = {
        "iterations": iterations,
        "batch_size": 2,
        "pretrained": None,
        "accumulate": 1,
        "augment": {"crop": [crop, crop]},
        "schedule": {"warmup_iterations": 0},
    }
    return {
        "run": "gpu",
        "recipe": "demo",
        "device": device,
        "datasets": ["vessels"],
        "dataset_options": SMALL,
        "models": networks,
        "controls": ["control_constant"],
        "evaluation": {"bootstrap_samples": 0},
        "overrides": [{"recipe": recipe}],
    }


def run(device: str, networks: list[str], iterations: int, crop: int) -> dict[str, Any]:
    """Run it, and return the device and the precision of each training.

    Raises:
        RuntimeError: Snakemake has failed; the message has the end of its log.
    """
    with tempfile.TemporaryDirectory() as scratch:
        place = Path(scratch)
        for name in NEEDED:
            (place / name).symlink_to(ROOT / name)
        config = configuration("cpu" if device == "cpu" else "auto", networks, iterations, crop)
        (place / "gpu.yaml").write_text(yaml.safe_dump(config))
        command = [sys.executable, "-m", "snakemake", "--configfile", "gpu.yaml", "--cores", "all"]
        paths = os.pathsep.join(filter(None, [str(place), os.environ.get("PYTHONPATH")]))
        done = subprocess.run(
            command,
            cwd=place,
            env={**os.environ, "PYTHONPATH": paths},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        if done.returncode:
            raise RuntimeError(done.stdout[-400:])
        return {"cells": [_cell(place / "results/gpu/cells/vessels" / name / "seed0") for name in networks]}


def _cell(folder: Path) -> dict[str, Any]:
    """Return what a finished cell says of its training.

    Raises:
        SegbenchError: it was not trained or not scored.
    """
    made, _ = read_json(folder / "training.json"), read_json(folder / "scores.json")
    return {
        "model": folder.parent.name,
        "device": made["gpu"] or made["processor"],
        "precision": made["precision"],
    }
