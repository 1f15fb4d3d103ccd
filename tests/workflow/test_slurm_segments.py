"""A training in more jobs than it has attempts on a real SLURM cluster, with a kill in between."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest
from slurm_cluster import (
    add_slow_network,
    assert_same_training,
    cell,
    cluster,
    finish,
    reach,
    submit,
    training_process,
    trainings,
    wait_until,
)
from tiny_project import make_project

pytestmark = [pytest.mark.slurm, pytest.mark.xdist_group("slurm"), pytest.mark.timeout(1800)]


def test_a_training_takes_as_many_jobs_as_it_needs_and_a_real_failure_one(tmp_path: Path) -> None:
    with cluster():
        project = make_project(tmp_path)
        add_slow_network(project, "whole")
        add_slow_network(project, "linked", seconds=0.3, limit=10)
        add_slow_network(project, "broken", fails=True)
        models = ["whole", "linked", "broken"]
        often = 0.001
        project.config(
            run="run", datasets=["toy"], models=models, controls=[], overrides=[], checkpoint_minutes=often
        )
        place = cell(project, "run", "linked")
        targets = [f"results/run/cells/toy/{model}/seed0/training.json" for model in models]
        memory = "train:mem_mb=attempt * 900"
        call = submit(project, *targets, "--retries", "1", "--set-resources", memory)
        reach(project, "run", "linked", 12)
        wait_until(lambda: training_process(place))
        os.kill(training_process(place) or 0, signal.SIGKILL)
        assert finish(project, call) != 0  # for the one that fails
        linked = trainings("linked")
        assert list(linked.state) == ["FAILED"] * (len(linked) - 1) + ["COMPLETED"]
        assert len(linked) in (4, 5) and list(trainings("broken").state) == ["FAILED"]
        # only the job after the kill asks for more, and those after it for as much as that one
        assert list(linked.memory) == sorted(linked.memory, key=lambda text: int(text[:-1]))
        assert set(linked.memory) == {"900M", "1800M"}
        assert_same_training(project, ("run", "linked"), ("run", "whole"))
