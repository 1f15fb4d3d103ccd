"""The profile on a real SLURM cluster: what jobs ask for, and what becomes of cells when things are killed.

The workers of this cluster have no network. Networks under several names are one and the same, so that a
disturbed cell has to end like an undisturbed one.
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import pytest
from slurm_cluster import (
    cluster,
    jobs,
    submit,
)
from tiny_project import Project, make_project

pytestmark = [pytest.mark.slurm, pytest.mark.xdist_group("slurm")]


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Project]:
    """The tiny project, on a cluster without accounting."""
    with cluster():
        yield make_project(tmp_path_factory.mktemp("slurm"))


def finish(project: Project, call: subprocess.Popen[str]) -> int:
    status = call.wait(timeout=400)
    print((project.root / "log").read_text()[-5000:])
    return status


def cell(project: Project, run: str, model: str) -> Path:
    return project.root / f"results/{run}/cells/toy/{model}/seed0"


def digest(project: Project, run: str, model: str) -> str:
    return json.loads((cell(project, run, model) / "training.json").read_text())["weights_digest"]


# --- a quiet day ------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def quiet_day(project: Project) -> Project:
    """The same benchmark run here and on the cluster."""
    small = {"exclude": [{"dataset": "vessels", "model": "unet"}]}
    project.config(run="here", **small)
    result = project.snakemake()
    assert result.returncode == 0, result.stdout + result.stderr
    project.config(run="there", data="results/there/data", **small)
    assert finish(project, submit(project)) == 0
    return project


def test_the_cluster_gives_the_same_scores_as_this_machine(quiet_day: Project) -> None:
    here, there = (
        pd.read_csv(quiet_day.root / f"results/{run}/summary/scores.csv") for run in ("here", "there")
    )
    assert len(here) > 20
    pd.testing.assert_frame_equal(here, there)


def test_jobs_ask_for_what_is_configured(quiet_day: Project) -> None:
    table = jobs().set_index("comment")
    train = table.loc["rule_train_wildcards_toy_unet_0"]
    assert (train.partition, train.gpus, train.limit) == ("gpu", "gres:gpu:1", "30:00")
    assert train.memory == "4012M"
    scores = table.loc["rule_toy_unet_seed0_evaluate_predict"]
    assert (scores.partition, scores.gpus) == ("gpu", "gres:gpu:1")
    nothing_trained = table.loc["rule_toy_control_constant_seed0_evaluate_predict"]
    assert (nothing_trained.partition, nothing_trained.gpus) == ("cpu", "N/A")
    assert table.loc["rule_toy_convert_dataset_lint_dataset"].partition == "cpu"
    assert len(table) == 2 + 3 + 5  # datasets, trainings, cells


def test_workers_have_no_network(quiet_day: Project) -> None:
    """Without this the other tests would not show that jobs need none."""
    reach = "import socket; socket.create_connection(('192.0.2.1', 80), timeout=5)"
    done = subprocess.run(["srun", "--partition=gpu", "python3", "-c", reach], capture_output=True, text=True)
    assert "Network is unreachable" in done.stderr
