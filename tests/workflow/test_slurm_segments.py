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
        add_slow_network(project, "entire")
        add_slow_network(project, "joined", seconds=0.3, limit=10)
        add_slow_network(project, "invalid", fails=True)
        models = ["entire", "joined", "invalid"]
        often = 0.001
        project.config(
            run="run", datasets=["toy"], models=models, controls=[], overrides=[], checkpoint_minutes=often
        )
        place = cell(project, "run", "joined")
        targets = [f"results/run/cells/toy/{model}/seed0/training.json" for model in models]
        memory = "train:mem_mb=attempt * 2000"
        call = submit(project, *targets, "--retries", "1", "--set-resources", memory)
        reach(project, "run", "joined", 12)
        wait_until(lambda: training_process(place))
        os.kill(training_process(place) or 0, signal.SIGKILL)
        assert finish(project, call) != 0  # for the one that fails
        joined = trainings("joined")
        assert list(joined.state) == ["FAILED"] * (len(joined) - 1) + ["COMPLETED"]
        assert len(joined) in (4, 5) and list(trainings("invalid").state) == ["FAILED"]
        # only the job after the kill asks for more, and those after it for as much as that one
        assert list(joined.memory) == sorted(joined.memory, key=lambda text: int(text[:-1]))
        assert set(joined.memory) == {"2000M", "4000M"}
        assert_same_training(project, ("run", "joined"), ("run", "entire"))
