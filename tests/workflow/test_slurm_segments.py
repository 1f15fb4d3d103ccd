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
    control,
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
        add_slow_network(project, "piece")
        add_slow_network(project, "segmented", seconds=0.3, limit=10)
        add_slow_network(project, "nan", fails=True)
        models = ["piece", "segmented", "nan"]
        often = 0.001
        project.config(
            run="run", datasets=["toy"], models=models, controls=[], overrides=[], checkpoint_minutes=often
        )
        place = cell(project, "run", "segmented")
        targets = [f"results/run/cells/toy/{model}/seed0/training.json" for model in models]
        memory = "train:mem_mb=attempt * 2000"
        call = submit(project, *targets, "--retries", "1", "--set-resources", memory)
        reach(project, "run", "segmented", 12)
        wait_until(lambda: training_process(place))
        os.kill(training_process(place) or 0, signal.SIGKILL)
        assert finish(project, call) != 0  # for the one that fails
        segmented = trainings("segmented")
        assert list(segmented.state) == ["FAILED"] * (len(segmented) - 1) + ["COMPLETED"]
        assert len(segmented) in (4, 5) and list(trainings("nan").state) == ["FAILED"]
        # only the job after the kill asks for more, and those after it for as much as that one
        assert list(segmented.memory) == sorted(segmented.memory, key=lambda text: int(text[:-1]))
        assert set(segmented.memory) == {"2000M", "4000M"}
        assert_same_training(project, ("run", "segmented"), ("run", "piece"))


@pytest.mark.extensive
def test_a_training_of_25_jobs_with_two_kills_and_a_lost_node(tmp_path: Path) -> None:
    with cluster():
        project = make_project(tmp_path)
        add_slow_network(project, "piece", iterations=50)
        add_slow_network(project, "long", iterations=50, seconds=0.5, limit=2)
        project.config(
            run="run", datasets=["toy"], models=["piece", "long"], controls=[], checkpoint_minutes=0.001
        )
        place = cell(project, "run", "long")
        targets = [f"results/run/cells/toy/{model}/seed0/training.json" for model in ("piece", "long")]
        call = submit(project, *targets)
        for iteration in (8, 24):
            reach(project, "run", "long", iteration)
            wait_until(lambda: training_process(place))
            os.kill(training_process(place) or 0, signal.SIGKILL)
        reach(project, "run", "long", 34)
        wait_until(lambda: "RUNNING" in set(trainings("long").state))
        node = trainings("long").node.iloc[-1]
        control("crash", node)
        wait_until(lambda: "NODE_FAIL" in set(trainings("long").state))
        control("boot", node)
        assert finish(project, call) == 0
        states = list(trainings("long").state)
        assert len(states) >= 25 and states[-1] == "COMPLETED"
        assert states.count("NODE_FAIL") == 1 and states.count("FAILED") == len(states) - 2
        assert_same_training(project, ("run", "long"), ("run", "piece"), iterations=50)
