"""The profile on a real SLURM cluster: what jobs ask for, and what becomes of cells when things are killed.

The workers of this cluster have no network. Networks under several names are one and the same, so that a
disturbed cell has to end like an undisturbed one.
"""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import pytest
from slurm_cluster import (
    add_slow_network,
    assert_same_training,
    cell,
    cluster,
    control,
    finish,
    iterations,
    jobs,
    reach,
    running_job,
    stops,
    submit,
    training_process,
    trainings,
    wait_until,
    went_on_after,
)
from tiny_project import Project, make_project

pytestmark = [pytest.mark.slurm, pytest.mark.xdist_group("slurm"), pytest.mark.timeout(1800)]


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Project]:
    """The tiny project, on a cluster without accounting."""
    with cluster():
        yield make_project(tmp_path_factory.mktemp("slurm"))


# --- a quiet day ------------------------------------------------------------------------------------------


@dataclass
class QuietDay:
    root: Path
    jobs: pd.DataFrame
    """Those that the run submitted, whatever ran on the cluster before it."""


@pytest.fixture(scope="module")
def quiet_day(project: Project) -> QuietDay:
    """The same benchmark run here and on the cluster."""
    project.config(run="here", datasets=["toy"])
    result = project.snakemake()
    assert result.returncode == 0, result.stdout + result.stderr
    project.config(run="there", datasets=["toy"], data="results/there/data")
    before = len(jobs())
    assert finish(project, submit(project)) == 0
    return QuietDay(project.root, jobs().iloc[before:])


def test_the_cluster_gives_the_same_scores_as_this_machine(quiet_day: QuietDay) -> None:
    here, there = (
        pd.read_csv(quiet_day.root / f"results/{run}/summary/scores.csv") for run in ("here", "there")
    )
    assert len(here) > 20
    pd.testing.assert_frame_equal(here, there)


def test_jobs_ask_for_what_is_configured(quiet_day: QuietDay) -> None:
    table = quiet_day.jobs.set_index("comment")
    train = table.loc["rule_train_wildcards_toy_unet_seed0"]
    assert (train.partition, train.gpus, train.limit) == ("gpu", "gres:gpu:1", "30:00")
    assert train.memory == "4000M"
    scores = table.loc["rule_score_wildcards_toy_unet_seed0_"]
    assert (scores.partition, scores.gpus) == ("gpu", "gres:gpu:1")
    nothing_trained = table.loc["rule_controls_wildcards_toy_seed0"]
    assert (nothing_trained.partition, nothing_trained.gpus) == ("cpu", "N/A")
    assert table.loc["rule_toy_convert_dataset"].partition == "cpu"
    assert len(table) == 1 + 2 + 3  # dataset, trainings, cells


def test_workers_have_no_network(quiet_day: QuietDay) -> None:
    """Without this the other tests would not show that jobs need none."""
    reach = "import socket; socket.create_connection(('192.0.2.1', 80), timeout=5)"
    done = subprocess.run(["srun", "--partition=gpu", "python3", "-c", reach], capture_output=True, text=True)
    assert "Network is unreachable" in done.stderr


# --- a hard day -------------------------------------------------------------------------------------------

SCARCE = [
    "train:runtime=2 if wildcards.model == 'late' else 30",
    "train:mem_mb=attempt * 2000",
]


@pytest.fixture(scope="module")
def hard_day(project: Project) -> Project:
    """One run in which each network meets a fault of its own; the controller is restarted meanwhile."""
    add_slow_network(project, "calm")
    add_slow_network(project, "killed", seconds=0.4)  # time enough to be met, on a busy machine too
    add_slow_network(project, "cancelled", seconds=0.4)
    add_slow_network(project, "hungry", megabytes=1800)  # more than its first attempt may have
    add_slow_network(project, "late", seconds=3.5)  # 140 s and a start; each job may take 120
    add_slow_network(project, "failing", fails=True)
    models = ["late", "killed", "cancelled", "hungry", "failing", "calm"]
    often = 0.001
    project.config(
        run="hard", datasets=["toy"], models=models, controls=[], overrides=[], checkpoint_minutes=often
    )
    faults = {"killed": kill, "cancelled": cancel}
    first = "results/hard/cells/toy/late/seed0/model.pt"  # the longest
    call = submit(project, "--retries", "2", "--prioritize", first, "--set-resources", *SCARCE)
    while call.poll() is None:
        for model in list(faults):
            if iterations(cell(project, "hard", model)) >= 5:
                faults.pop(model)(project)
                if not faults:
                    control("controller", "stop")
                    time.sleep(3)
                    control("controller", "start")
        time.sleep(0.2)
    assert finish(project, call) != 0  # for the one that always fails
    return project


def kill(project: Project) -> None:
    pid = training_process(cell(project, "hard", "killed"))
    assert pid
    os.kill(pid, signal.SIGKILL)


def cancel(project: Project) -> None:
    subprocess.run(["scancel", running_job("cancelled")], check=True)


@pytest.mark.parametrize(
    ("model", "states"),
    [
        ("calm", ["COMPLETED"]),
        ("killed", ["FAILED", "COMPLETED"]),
        ("cancelled", ["CANCELLED", "COMPLETED"]),
        ("hungry", ["FAILED", "COMPLETED"]),
        ("late", ["FAILED", "COMPLETED"]),
    ],
)
def test_a_fault_costs_a_job_and_changes_no_result(hard_day: Project, model: str, states: list[str]) -> None:
    # SLURM does not always notice in time why the processes of a job without memory were killed; and a busy
    # machine may need longer than a few seconds to end a job whose training has stopped before its limit
    failures = {"OUT_OF_MEMORY": "FAILED"} | ({"TIMEOUT": "FAILED"} if model == "late" else {})
    ended = list(trainings(model).state.replace(failures))
    assert ended == states or (model == "late" and set(ended[:-1]) == {"FAILED"} and ended[-1] == "COMPLETED")
    assert_same_training(hard_day, ("hard", model), ("hard", "calm"))
    mine, calm = (
        pd.read_csv(cell(hard_day, "hard", name) / "scores.csv").drop(columns="model", errors="ignore")
        for name in (model, "calm")
    )
    pd.testing.assert_frame_equal(mine, calm)
    assert not (cell(hard_day, "hard", model) / "checkpoint.pt").exists()


def test_only_a_job_that_was_killed_or_out_of_memory_gets_more(hard_day: Project) -> None:
    for model in ("hungry", "killed"):
        assert list(trainings(model).memory) == ["2000M", "4000M"]
    for model in ("late", "cancelled"):
        assert set(trainings(model).memory) == {"2000M"}
    assert set(trainings("late").limit) == {"2:00"}


def test_a_training_goes_on_after_its_time_limit_and_after_scancel(hard_day: Project) -> None:
    late, (cancelled,) = (went_on_after(hard_day, "hard", model) for model in ("late", "cancelled"))
    assert late and late == sorted(set(late))
    assert stops(hard_day, "late") == [("the time limit is near", number) for number in late]  # in time
    assert cancelled >= 5
    assert stops(hard_day, "cancelled") == [("SIGTERM", cancelled)]


def test_a_real_failure_takes_one_job_and_is_shown_and_the_others_are_done(hard_day: Project) -> None:
    assert list(trainings("failing").state) == ["FAILED"]
    status = pd.read_csv(hard_day.root / "results/hard/summary/cells.csv").set_index("model")
    assert status.status.to_dict() == dict.fromkeys(status.index, "ok") | {"failing": "failed"}
    assert "loss_cross_entropy is nan" in status.reason["failing"]
    assert "loss_cross_entropy is nan" in (hard_day.root / "results/hard/report/index.html").read_text()


def test_no_more_trainings_at_once_than_gpus(hard_day: Project) -> None:
    table = jobs()
    train = table[table.comment.str.startswith("rule_train")]
    at_once = [((train.started <= moment) & (train.ended > moment)).sum() for moment in train.started]
    assert max(at_once) == 3


def one_training(name: str) -> dict[str, object]:
    """Configuration of a run of one cell; the network has the name of the run."""
    return {"run": name, "datasets": ["toy"], "models": [name], "controls": [], "overrides": []}


def start(project: Project, name: str) -> subprocess.Popen[bytes]:
    project.config(**one_training(name))
    return submit(project, f"results/{name}/cells/toy/{name}/seed0/training.json")


def start_new(project: Project, name: str, seconds: float = 0.4) -> subprocess.Popen[bytes]:
    """A run of one training, which is under way."""
    add_slow_network(project, name, seconds=seconds)
    call = start(project, name)
    reach(project, name, name, 10)
    return call


def test_a_node_that_crashes_is_replaced(hard_day: Project) -> None:
    call = start_new(hard_day, "lost")
    node = trainings("lost").node.item()
    control("crash", node)
    wait_until(lambda: "NODE_FAIL" in set(trainings("lost").state))
    control("boot", node)
    assert finish(hard_day, call) == 0
    assert list(trainings("lost").state) == ["NODE_FAIL", "COMPLETED"]
    assert_same_training(hard_day, ("lost", "lost"), ("hard", "calm"))


def test_snakemake_interrupted_goes_on(hard_day: Project) -> None:
    call = start_new(hard_day, "interrupted")
    call.send_signal(signal.SIGINT)
    assert finish(hard_day, call) != 0
    assert finish(hard_day, start(hard_day, "interrupted")) == 0
    assert list(trainings("interrupted").state) == ["CANCELLED", "COMPLETED"]
    assert went_on_after(hard_day, "interrupted", "interrupted")[0] >= 10
    assert_same_training(hard_day, ("interrupted", "interrupted"), ("hard", "calm"))


@pytest.mark.parametrize("meanwhile", ["running", "ended"])
def test_snakemake_killed_trains_nothing_twice(hard_day: Project, meanwhile: str) -> None:
    """Its job runs on: it is ended and goes on from its checkpoint, or has come to its end."""
    call = start_new(hard_day, meanwhile, seconds=1 if meanwhile == "running" else 0.2)
    call.kill()
    call.wait()
    if meanwhile == "ended":
        wait_until(lambda: trainings(meanwhile).state.item() == "COMPLETED")
    else:
        assert trainings(meanwhile).state.item() == "RUNNING"
    unlocked = submit(hard_day, "--unlock")
    assert finish(hard_day, unlocked) == 0
    assert finish(hard_day, start(hard_day, meanwhile)) == 0
    # on a slow machine it may have come to its end before the next call could end it
    first, second = trainings(meanwhile).state
    assert first == "COMPLETED" or (first == "CANCELLED" and meanwhile == "running")
    assert second == "COMPLETED"
    (went_on,) = went_on_after(hard_day, meanwhile, meanwhile)
    assert went_on == 40 if meanwhile == "ended" else went_on >= 10
    hard_day.config(**one_training(meanwhile) | {"overrides": [{"recipe": {"iterations": 41}}]})
    assert hard_day.jobs()["train"] == 1  # what it was made from is known
    assert_same_training(hard_day, (meanwhile, meanwhile), ("hard", "calm"))
