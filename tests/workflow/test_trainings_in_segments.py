"""A training that needs more jobs than it has attempts, on this machine."""

from __future__ import annotations

from pathlib import Path

import pytest
from slurm_cluster import add_slow_network, cell, digest
from tiny_project import Project, make_project
from warm_server import WarmServer

from segbench.files import read_json


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory, warm: WarmServer) -> Project:
    """The tiny project after the same training in one piece and in four jobs."""
    project = make_project(tmp_path_factory.mktemp("segments"), warm)
    add_slow_network(project, "whole", seconds=0)
    add_slow_network(project, "chained", seconds=0, limit=12)
    models = ["whole", "chained"]
    project.config(run="run", datasets=["toy"], models=models, controls=[], overrides=[])
    targets = [f"results/run/cells/toy/{model}/seed0/training.json" for model in models]
    result = project.snakemake(*targets, "--retries", "1")
    assert result.returncode == 0, result.stdout + result.stderr
    (project.root / "log").write_text(result.stdout + result.stderr)
    return project


def log(project: Project, model: str) -> str:
    return (project.root / f"results/run/logs/train/toy/{model}-seed0.log").read_text()


def test_it_ends_in_the_same_weights(project: Project) -> None:
    said = (project.root / "log").read_text()
    assert said.count("toy/chained/seed0: the time of this job is over") == 3
    assert "continuing after iteration 36" in log(project, "chained")
    assert digest(project, "run", "chained") == digest(project, "run", "whole")


def test_an_image_that_cannot_be_read_is_not_tried_again(project: Project) -> None:
    image = next(Path(project.root, "results/data/toy/train/images").glob("*"))
    content = image.read_bytes()
    image.unlink()  # a hard link
    image.write_bytes(content[:60])
    try:
        add_slow_network(project, "unlucky", seconds=0)
        project.config(run="run", datasets=["toy"], models=["unlucky"], controls=[], overrides=[])
        target = "results/run/cells/toy/unlucky/seed0/training.json"
        assert project.snakemake(target, "--retries", "3").returncode != 0
        assert log(project, "unlucky").count("error: ") == 1
        state = read_json(cell(project, "run", "unlucky") / "state.json")
        assert (state["state"], state["again"]) == ("failed", "never") and image.name in state["reason"]
    finally:
        image.write_bytes(content)
    assert project.snakemake(target).returncode == 0  # a new call tries again


def test_the_interval_of_checkpoints_repeats_nothing(project: Project) -> None:
    models = ["whole", "chained"]
    project.config(
        run="run", datasets=["toy"], models=models, controls=[], overrides=[], checkpoint_minutes=3
    )
    assert "train" not in project.jobs()
