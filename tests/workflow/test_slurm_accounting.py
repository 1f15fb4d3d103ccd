"""The profile with `sacct`, on a cluster with an accounting database."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator

import pytest
from slurm_cluster import (
    add_slow_network,
    assert_same_training,
    cluster,
    control,
    finish,
    reach,
    running_job,
    submit,
    trainings,
    wait_until,
)
from tiny_project import Project, make_project

GRES = ["train:gpu=0", "train:gres=gpu:1"]
pytestmark = [pytest.mark.slurm, pytest.mark.xdist_group("slurm"), pytest.mark.timeout(1800)]


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Project]:
    with cluster("--accounting"):
        yield make_project(tmp_path_factory.mktemp("slurm"))


def test_scancel_and_a_lost_node_cost_an_attempt(project: Project) -> None:
    """Out of the box, Snakemake waits for ever for the one, and ends with the other if SLURM requeues it."""
    models = ["cancelled", "lost"]
    for model in models:
        add_slow_network(project, model, seconds=0.5)
    project.config(run="run", datasets=["toy"], models=models, controls=[], overrides=[])
    targets = [f"results/run/cells/toy/{model}/seed0/training.json" for model in models]
    call = submit(project, *targets, "--slurm-status-command", "sacct", "--set-resources", *GRES)
    reach(project, "run", "cancelled", 5)
    subprocess.run(["scancel", running_job("cancelled")], check=True)
    reach(project, "run", "lost", 5)
    node = trainings("lost").node.item()
    control("crash", node)
    wait_until(lambda: "NODE_FAIL" in set(trainings("lost").state))
    control("boot", node)
    assert finish(project, call) == 0
    ended = accounted("State,AllocTRES,Partition", "rule_train")
    assert {state for state, *_ in ended} == {"COMPLETED", "CANCELLED by 0", "NODE_FAIL"}
    assert all("gres/gpu=1" in allocated and partition == "gpu" for _, allocated, partition in ended)
    assert_same_training(project, ("run", "cancelled"), ("run", "lost"))


def accounted(fields: str, comment: str) -> list[list[str]]:
    """What the database has of the jobs whose comment starts so."""
    command = [
        "sacct",
        "-X",
        "--noheader",
        "--parsable2",
        f"--format=Comment,{fields}",
        "--starttime=now-1hours",
    ]
    lines = subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()
    return [line.split("|")[1:] for line in lines if line.startswith(comment)]
