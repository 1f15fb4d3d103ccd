"""The order of trainings: one that is left for the end lets the other cores idle."""

from __future__ import annotations

import re
from pathlib import Path

from tiny_project import make_project
from warm_server import WarmServer


def test_long_trainings_start_before_the_datasets_are_known(tmp_path: Path, warm: WarmServer) -> None:
    project = make_project(tmp_path / "project", warm)
    overrides = [{"models": ["fcn8s_vgg16"], "recipe": {"iterations": 5000}}]
    project.config(
        datasets=["vessels"], models=["unet", "fcn8s_vgg16"], seeds=[0, 1], recipe="demo", overrides=overrides
    )
    result = project.snakemake("-n")
    assert result.returncode == 0, result.stderr
    jobs = re.findall(r"model=(\w+), repetition=\w+\n +priority: (\d+)", result.stdout + result.stderr)
    priorities = {model: {int(found) for name, found in jobs if name == model} for model, _ in jobs}
    assert len(jobs) == 4 and {*map(len, priorities.values())} == {1}
    assert min(priorities["fcn8s_vgg16"]) > 5 * max(priorities["unet"]) > 0
