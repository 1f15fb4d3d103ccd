"""The whole workflow on a tiny run: what it makes, and what it makes again after each kind of change."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import pytest
import yaml
from tiny_project import CONFIG, ROOT, Project, make_project
from warm_server import WarmServer

from segbench.jobs.locks import hold

pytestmark = pytest.mark.xdist_group("pipeline")  # one worker runs the tiny benchmark, once


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory, warm: WarmServer) -> Project:
    """A project with a toy network and a toy dataset added, run to its report."""
    project = make_project(tmp_path_factory.mktemp("project"), warm)
    result = project.snakemake()
    assert result.returncode == 0, result.stdout + result.stderr
    return project


@pytest.fixture
def project(finished: Project) -> Iterator[Project]:
    """The finished project; edits are undone after the test."""
    yield finished
    finished.undo()


def test_the_run_is_complete_and_a_toy_needs_no_edit_of_a_rule(finished: Project) -> None:
    scores = pd.read_csv(finished.root / "results/tiny/summary/scores.csv")
    assert set(scores.model) == {"toy", "unet", "control_constant"}
    assert set(scores.dataset) == {"toy", "vessels"}
    assert "Toy data" in (finished.root / "results/tiny/report/index.html").read_text()
    assert _same_tree(ROOT / "workflow", finished.root / "workflow")


def _same_tree(one: Path, other: Path) -> bool:
    files = [p.relative_to(one) for p in one.rglob("*") if p.is_file()]
    return all((one / f).read_bytes() == (other / f).read_bytes() for f in files)


def test_nothing_changed_starts_no_job(project: Project) -> None:
    assert project.jobs() == {}


def test_a_run_ends_with_its_last_job(project: Project) -> None:
    started = time.monotonic()
    result = project.snakemake("--force", "report")
    assert result.returncode == 0, result.stdout + result.stderr
    assert "Finished jobid" in result.stdout + result.stderr
    assert time.monotonic() - started < 60  # seconds, the timespan of `max-jobs-per-timespan`


def test_a_cell_that_was_removed_is_made_again(project: Project) -> None:
    cell, aside = (project.root / "results/tiny" / name for name in ("cells/toy/unet", "aside"))
    cell.rename(aside)
    try:
        assert project.jobs() == {"train": 1, "score": 1, "summarise": 1, "report": 1}
    finally:
        aside.rename(cell)


def test_a_recipe_key_of_one_network_repeats_only_its_cells(project: Project) -> None:
    changed = [{**CONFIG["overrides"][0], "recipe": {**CONFIG["overrides"][0]["recipe"], "iterations": 3}}]
    project.config(overrides=changed)
    assert project.jobs() == {"train": 2, "score": 2, "summarise": 1, "report": 1}


def test_an_inference_key_repeats_the_prediction_but_not_the_training(project: Project) -> None:
    (first,) = CONFIG["overrides"]
    project.config(overrides=[first, {"models": ["unet"], "recipe": {"inference": {"short_side": 48}}}])
    assert project.jobs() == {"score": 2, "summarise": 1, "report": 1}


def test_the_training_split_is_scored_in_a_folder_of_its_own(project: Project) -> None:
    """The networks are predicted once more, and nothing else is repeated."""
    project.config(score_splits=["train", "test"])
    assert project.jobs() == {"score": 4, "summarise": 1, "report": 1}
    cell = "results/tiny/cells/toy/toy/seed0"
    result = project.snakemake(f"{cell}/train/scores.csv")
    assert result.returncode == 0, result.stdout + result.stderr
    index = json.loads((project.root / cell / "train/predictions/predictions.json").read_text())
    assert (index["split"], index["images"]) == ("train", 4)
    index = json.loads((project.root / cell / "predictions/predictions.json").read_text())
    assert (index["split"], index["images"]) == ("test", 2)
    assert json.loads((project.root / cell / "train/state.json").read_text())["step"] == "evaluate"
    assert project.jobs() == {"score": 3, "summarise": 1, "report": 1}


def starting(start: dict) -> list[dict]:
    """Overrides with which the U-Net on vessels starts from a trained network."""
    (first,) = CONFIG["overrides"]
    return [first, {"models": ["unet"], "datasets": ["vessels"], "recipe": {"init_from": start}}]


def test_a_cell_that_starts_from_another_waits_for_it(project: Project) -> None:
    first, again = starting({"dataset": "toy"})
    project.config(overrides=[{**first, "recipe": {**first["recipe"], "iterations": 3}}, again])
    assert project.jobs() == {"train": 2, "score": 2, "summarise": 1, "report": 1}
    result = project.snakemake("--dry-run")
    assert re.search(r"rule train:\n +input: .*toy/unet/seed0/model\.pt", result.stdout + result.stderr)
    project.config(overrides=[first, again])
    assert project.jobs() == {"train": 1, "score": 1, "summarise": 1, "report": 1}


def test_a_cell_that_starts_from_a_file_is_trained_again_if_its_content_changes(project: Project) -> None:
    cells = project.root / "results/tiny/cells"
    given, target = project.root / "given.pt", "results/given/cells/vessels/unet/seed0/model.pt"
    shutil.copy(cells / "toy/unet/seed0/model.pt", given)
    project.config(run="given", overrides=starting({"path": "given.pt"}))
    result = project.snakemake(target)
    assert result.returncode == 0, result.stdout + result.stderr
    log = (project.root / "results/given/logs/train/vessels/unet-seed0.log").read_text()
    assert "tensors copied from given.pt (toy)" in log
    record = json.loads((project.root / target).with_name("training.json").read_text())
    assert record["sources"]["weights"] == hashlib.sha256(given.read_bytes()).hexdigest()

    def dry_run() -> str:
        result = project.snakemake("--dry-run", target)
        return result.stdout + result.stderr

    os.utime(given)
    assert "Nothing to be done" in dry_run()
    shutil.copy(cells / "vessels/unet/seed0/model.pt", given)
    os.utime(given, (1e9, 1e9))
    assert "rule train:" in dry_run()
    plan = project.segbench("plan", "--configfile", "tiny.yaml")
    assert "vessels/unet/seed0: train: the model.pt that it starts from changed" in plan


def test_a_metric_option_repeats_the_evaluation_only(project: Project) -> None:
    project.config(evaluation={"boundary_width": 0.03})
    assert project.jobs() == {"score": 4, "controls": 2, "summarise": 1, "report": 1}


def test_a_new_metric_in_the_code_runs_no_training_and_no_prediction(project: Project) -> None:
    project.edit(
        "segbench/evaluation/semantic/confusion.py", after="\n\ndef another_metric():\n    return 1\n"
    )
    assert project.jobs() == {"score": 4, "controls": 2, "summarise": 1, "report": 1}


def test_an_edit_of_the_check_of_datasets_repeats_nothing(project: Project) -> None:
    project.edit("segbench/data/lint/dataset.py", after="\nEDITED = True\n")
    assert project.jobs() == {}


def test_predictions_are_made_again_only_if_they_would_differ(project: Project) -> None:
    """Scores are made anew without predicting and without a GPU; other code of the prediction needs both."""
    changes = {"run": "again", "datasets": ["toy"], "models": ["toy"]}
    cells = [f"results/again/cells/toy/{model}/seed0" for model in ("toy", "control_constant")]
    targets = [f"{cell}/scores.csv" for cell in cells]

    def run(gpus: int) -> list[tuple[int, int]]:
        dry = project.snakemake("--dry-run", targets[0])
        assert re.search(rf"rule score:[^\[]* gpu={gpus},", dry.stdout + dry.stderr)
        result = project.snakemake(*targets)
        assert result.returncode == 0, result.stdout + result.stderr
        files = [(f"{cell}/predictions/predictions.json", f"{cell}/scores.csv") for cell in cells]
        return [tuple((project.root / file).stat().st_mtime_ns for file in pair) for pair in files]

    project.config(**changes)
    first = run(gpus=1)
    project.config(**changes, evaluation={"boundary_width": 0.03})
    second = run(gpus=0)
    project.edit("segbench/prediction/writer.py", after="\nEDITED = True\n")
    third = run(gpus=1)
    for one, two, three in zip(first, second, third, strict=True):
        assert one[0] == two[0] < three[0] and one[1] < two[1] < three[1]


def test_a_check_that_fails_leaves_the_conversion(project: Project) -> None:
    """The job fails, so Snakemake removes its files; what the conversion has done is there the next time."""
    project.config(run="unchecked", datasets=["toy"], data="results/unchecked/data")
    project.edit("segbench/data/lint/dataset.py", after="\nPAIRS = 1 / 0\n")
    lint = "results/unchecked/data/toy/lint.json"
    assert project.snakemake(lint).returncode != 0
    image = project.root / "results/unchecked/data/toy/train/images/0.png"
    made = image.stat().st_ino
    assert not image.parents[2].joinpath("dataset.json").exists()
    project.undo()
    project.config(run="unchecked", datasets=["toy"], data="results/unchecked/data")
    assert project.snakemake(lint).returncode == 0
    assert image.stat().st_ino == made and image.parents[2].joinpath("dataset.json").exists()


def test_a_plot_option_repeats_the_report_only(project: Project) -> None:
    project.config(report={"gallery_images": 1})
    assert project.jobs() == {"report": 1}


def test_an_edit_of_code_in_a_network_repeats_its_cells(project: Project) -> None:
    project.edit("segbench/models/unet.py", after="\nEDITED = True\n")
    assert project.jobs() == {"train": 2, "score": 2, "summarise": 1, "report": 1}


def test_an_edit_of_a_comment_repeats_nothing(project: Project) -> None:
    project.edit("segbench/models/unet.py", before="# a comment\n")
    assert project.jobs() == {}


def test_an_edit_in_the_own_folder_of_a_dataset_repeats_its_cells(project: Project) -> None:
    file = project.root / "toy_folder/inner/a.json"
    project.edit("toy_folder/inner/a.json", after=" ")
    os.utime(file, (1e9, 1e9))  # as unzip, rsync -t and cp -p leave it
    for name in (".DS_Store", "._a.json", "Thumbs.db", "desktop.ini", "@eaDir/a.json"):
        (project.root / "toy_folder" / name).parent.mkdir(exist_ok=True)
        (project.root / "toy_folder" / name).touch()
    assert project.jobs() == {
        "convert_dataset": 1,
        "train": 2,
        "score": 2,
        "controls": 1,
        "summarise": 1,
        "report": 1,
    }
    project.undo()
    assert project.jobs() == {}


def test_a_dataset_added_runs_its_cells_only(project: Project) -> None:
    project.config(
        datasets=["toy", "vessels", "bubbles"],
        dataset_options={
            **CONFIG["dataset_options"],
            "bubbles": {"size": [64, 64], "images": {"train": 4, "test": 2}},
        },
    )
    assert project.jobs() == {
        "convert_dataset": 1,
        "train": 2,
        "score": 2,
        "controls": 1,
        "summarise": 1,
        "report": 1,
    }


def test_a_failed_cell_is_shown_and_the_rest_is_there(project: Project) -> None:
    """A training that diverges: exit status non-zero, the report says why, the other cells are done."""
    broken = {"models": ["toy"], "datasets": ["toy"], "recipe": {"optimizer": {"name": "sgd", "lr": 1e30}}}
    project.config(run="broken", overrides=[*CONFIG["overrides"], broken])
    result = project.snakemake()
    assert result.returncode != 0
    page = (project.root / "results/broken/report/index.html").read_text()
    cells = pd.read_csv(project.root / "results/broken/summary/cells.csv").set_index(["dataset", "model"])
    assert cells.loc[("toy", "toy"), "status"] == "failed"
    assert "loss" in cells.loc[("toy", "toy"), "reason"]
    assert (cells.drop(index=("toy", "toy")).status == "ok").all()
    assert "failed" in page
    project.undo()
    assert project.jobs() == {}  # the runs share the data: what one makes repeats nothing of the other


def test_strict_stops_at_the_first_failure(project: Project) -> None:
    default, strict = (
        yaml.safe_load((ROOT / "profiles" / name / "profile.yaml").read_text())
        for name in ("default", "strict")
    )
    assert {**strict, "keep-going": True} == default
    broken = {"optimizer": {"name": "sgd", "lr": 1e30}}
    one = {"datasets": ["toy"], "models": ["toy"], "controls": [], "seeds": [0, 1, 2]}
    project.config(run="strict", **one, overrides=[{"recipe": broken}])
    result = project.snakemake("--workflow-profile", "strict", "--cores", "1")
    assert result.returncode != 0
    cells = pd.read_csv(project.root / "results/strict/summary/cells.csv")
    assert sorted(cells.status) == ["failed", "pending", "pending"]


def test_two_runs_on_one_results_folder(project: Project, tmp_path: Path) -> None:
    """The second is refused, in the same working directory and in another one."""
    project.config(run="claimed", results=str(project.root / "results"))
    ignored = shutil.ignore_patterns("results", ".snakemake", "__pycache__")
    other = Project(Path(shutil.copytree(project.root, tmp_path / "copy", ignore=ignored)))
    with hold(project.root / "results/claimed"):
        for one in (other, project):
            result = one.snakemake()
            assert result.returncode != 0 and not (project.root / "results/claimed/run.json").exists()
            assert f"another run uses this folder (process {os.getpid()} on" in result.stdout + result.stderr
            assert "Traceback" not in result.stdout + result.stderr


def test_two_runs_of_other_names_on_one_folder_of_data(project: Project) -> None:
    """What is there both may read; what is still to be made, or made otherwise, only one may touch."""
    project.config(run="reader", datasets=["toy"], models=["toy"])
    place = project.root / "results/data/.locks/toy"
    before = (project.root / "results/data/toy/dataset.json").stat().st_mtime_ns
    with hold(place):
        result = project.snakemake()
        assert result.returncode != 0 and "LockException" not in result.stderr
        assert "results/data/toy: another run uses this folder (process" in result.stdout + result.stderr
    with hold(place, shared=True):
        assert project.snakemake().returncode == 0
        project.config(run="maker", datasets=["toy"], models=["toy"], limits={"max_files": 10})
        result = project.snakemake()
        assert result.returncode != 0
        assert "remedy: wait until the other run has written it" in result.stdout + result.stderr
    assert (project.root / "results/data/toy/dataset.json").stat().st_mtime_ns == before


def test_the_same_command_goes_on_after_a_kill(project: Project) -> None:
    """SIGKILL to Snakemake and all its jobs, then the same command again; with `strict` as well."""
    slow = {"recipe": {"iterations": 400}}
    project.config(run="killed", datasets=["toy"], models=["toy"], controls=[], overrides=[slow])
    command = [sys.executable, "-m", "snakemake", "--configfile", "tiny.yaml", "--cores", "2"]
    first = subprocess.Popen(
        command,
        cwd=project.root,
        env=project.environment,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    state = project.root / "results/killed/cells/toy/toy/seed0/state.json"
    while not state.exists():
        assert first.poll() is None
        time.sleep(0.05)
    os.killpg(first.pid, signal.SIGKILL)
    first.wait()
    scores = "results/killed/cells/toy/toy/seed0/scores.csv"
    result = project.snakemake("--workflow-profile", "strict", scores)
    assert result.returncode == 0, result.stdout + result.stderr
    assert "Lock" not in result.stdout + result.stderr
    assert (project.root / scores).exists()


def test_the_project_is_found_from_elsewhere(project: Project, tmp_path: Path) -> None:
    arguments = ["--snakefile", str(project.root / "Snakefile"), "--directory", str(tmp_path / "elsewhere")]
    result = project.snakemake(*arguments, "--dry-run")
    assert result.returncode == 0, result.stdout + result.stderr
    assert "train" in result.stdout + result.stderr


def test_a_typo_in_the_configuration_stops_before_anything_runs(project: Project) -> None:
    project.config(modle=["unet"], models=["unett"])
    result = project.snakemake("--dry-run")
    text = result.stdout + result.stderr
    assert result.returncode != 0 and "Traceback" not in text
    assert "tiny.yaml: modle: unknown key; did you mean 'models'?" in text
    assert "unett.yaml; did you mean 'unet'?" in text


def plan(project: Project, *arguments: str) -> subprocess.CompletedProcess[str]:
    return project.run("segbench", "plan", "--configfile", "tiny.yaml", *arguments)


def test_a_plan_says_why_and_at_what_cost(project: Project) -> None:
    changed = {"models": ["toy"], "datasets": ["toy"], "recipe": {"iterations": 6}}
    project.config(
        models=["toy", "unet", "mask_rcnn_resnet50_fpn"],
        overrides=[*CONFIG["overrides"], changed],
        max_hours=1e-9,
    )
    project.edit("segbench/models/unet.py", after="\nEDITED = True\n")
    result = plan(project)
    text = result.stdout
    assert "run 'tiny': 3 train, 3 score, 1 summarise, 1 report\n" in text
    assert re.search(r"toy/toy/seed0: train: recipe changed \(0:00:\d\d\)", text)
    assert re.search(r"toy/unet/seed0: train: code changed \(0:00:\d\d\)", text)
    assert re.search(r"vessels/unet/seed0: train: code changed \(0:00:\d\d\)", text)
    assert "vessels/toy" not in text and "control" not in text
    assert "skipped: mask_rcnn_resnet50_fpn on toy: needs instance truth" in text
    assert re.search(r"training: \S+ device-hours, as on \S+", text)
    assert result.returncode == 1 and "are more than max_hours: 1e-09" in result.stderr
    assert plan(project, "--yes", "--config", "seeds=[0]").returncode == 0


def test_a_plan_of_what_is_done_new_and_failed(project: Project) -> None:
    assert "run 'tiny': nothing to be done" in plan(project).stdout
    folder = project.root / "results/other/cells/toy/toy/seed0"
    folder.mkdir(parents=True)
    (folder / "state.json").write_text('{"step": "train", "state": "failed", "reason": "loss is nan"}')
    (folder / "checkpoint.pt").touch()
    text = plan(project, "--config", "run=other", "seeds=[0]", "controls=[]").stdout
    assert "toy/toy/seed0: train: failed before: loss is nan; continues from its checkpoint (0:00:0" in text
    assert "vessels/toy/seed0: train: new (0:00:0" in text
    assert not (project.root / "results/other/run.json").exists()


def test_a_plan_of_a_wrong_configuration(project: Project) -> None:
    project.config(models=["unett"])
    result = plan(project)
    assert result.returncode == 1 and "did you mean 'unet'?" in result.stderr
    assert "Traceback" not in result.stderr
    missing = project.run("segbench", "plan", "--configfile", "tinny.yaml")
    assert missing.returncode == 1 and "tinny.yaml: does not exist" in missing.stderr
    assert "Traceback" not in missing.stderr


def test_the_status_takes_the_options_of_snakemake(project: Project) -> None:
    def status(*arguments: str) -> str:
        result = project.run("segbench", "status", *arguments)
        assert "Traceback" not in result.stderr
        return result.stdout + result.stderr

    line = "run 'tiny': 6 cells: 6 ok"
    assert line in status("--configfile", "tiny.yaml")
    assert line in status("results/tiny") and line in status("tiny")
    assert "seed0" in status("--all", "--configfile", "tiny.yaml", "--config", "seeds=[0]")
    other = status("--configfile", "tiny.yaml", "--config", "run=other_name")
    assert "results/other_name: no such run" in other
    assert "did you mean 'unet'?" in status("--configfile", "tiny.yaml", "--config", "models=[unett]")


def test_folds_are_one_more_axis(project: Project) -> None:
    """Two folds of the four training images of a set with a given test split: every image is tested once."""
    changes = {"run": "folds", "datasets": ["toy"], "models": ["toy"], "controls": [], "folds": 2}
    project.config(**changes)
    result = project.snakemake()
    assert result.returncode == 0, result.stdout + result.stderr
    assert project.jobs() == {}
    run = project.root / "results/folds"
    scores = pd.read_csv(run / "summary/scores.csv")
    assert set(scores["fold"]) == {0, 1} and "-fold" not in "".join(scores["model"])
    images = [
        set(pd.read_parquet(run / f"cells/toy/toy/seed0-fold{fold}/per_image.parquet")["image"])
        for fold in (0, 1)
    ]
    assert sorted(map(len, images)) == [2, 2] and images[0] | images[1] == {"0", "1", "2", "3"}
    pooled = pd.read_csv(run / "cells/toy/toy/seed0-pooled/scores.csv")
    table = pd.read_csv(run / "summary/tables/toy_semantic.csv").iloc[0]
    whole = pooled[(pooled["metric"] == "miou") & pooled["class"].isna()]["value"].item()
    folds = scores[(scores["metric"] == "miou") & scores["class"].isna()]["value"]
    assert table["miou_pooled"] == pytest.approx(whole) and table["miou"] == pytest.approx(folds.mean())
    assert (table["seeds"], table["planned"]) == (2, 2)
    assert "Cross-validation" in (run / "report/index.html").read_text()
    status = project.segbench("status", "results/folds", "--all")
    assert "2 cells: 2 ok" in status and "toy/toy/seed0-fold1" in status
    project.config(**{**changes, "folds": {"toy": 3}})
    plan = project.segbench("plan", "--configfile", "tiny.yaml")
    assert (
        "3 fold_dataset, 3 train," in plan and "1 pool_folds" in plan
    )  # another number of folds trains anew
    assert "toy/toy/seed0-fold2: train:" in plan
    project.config()
    assert project.jobs() == {}  # the run without folds is as it was
