import json
import math
import os
import platform
import shutil
from dataclasses import fields
from pathlib import Path

import pandas as pd
import pytest
from fake_run import make_run

from segbench.comparison.compare import Comparison
from segbench.contract.run import RunDescription
from segbench.contract.scores import PRIMARY
from segbench.errors import SegbenchError
from segbench.report.summarise import collect, comparisons, read_summary, summarise
from segbench.report.tables import to_html, to_markdown


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_run(tmp_path_factory.mktemp("run"), images=1, size=(40, 60))


@pytest.fixture(scope="module")
def untouched(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_run(tmp_path_factory.mktemp("street"), datasets=("street",), images=1, size=(40, 60))


@pytest.fixture
def street(untouched: Path, tmp_path: Path) -> Path:
    shutil.copytree(untouched.parent, tmp_path / "street")
    return tmp_path / "street" / "run.json"


def cell(run_json: Path, model: str, seed: int = 0, dataset: str = "street") -> Path:
    return run_json.parent / "cells" / dataset / model / f"seed{seed}"


def row(table: pd.DataFrame, model: str) -> pd.Series:
    return table.set_index("model").loc[model]


def test_all_files_of_a_finished_run(finished, tmp_path):
    summarise(finished, tmp_path / "summary")
    names = {p.relative_to(tmp_path / "summary").as_posix() for p in (tmp_path / "summary").rglob("*.*")}
    pairs = ["vessels_semantic", "bubbles_semantic", "bubbles_instance"]
    pairs += [f"street_{task}" for task in ("semantic", "instance", "panoptic")]
    expected = {"scores.csv", "cells.csv", "conditions.csv"} | {f"images/{p}.csv" for p in pairs}
    expected |= {f"comparison/{one.name}.csv" for one in fields(Comparison)}
    assert names == expected | {f"tables/{p}.{kind}" for p in pairs for kind in ("csv", "md", "html")}

    scores, cells = read_summary(tmp_path / "summary")
    own = pd.read_csv(cell(finished, "unet", 1, "vessels") / "scores.csv", keep_default_na=False)
    kept = scores[(scores["dataset"] == "vessels") & (scores["model"] == "unet") & (scores["seed"] == 1)]
    assert kept["value"].tolist() == own["value"].tolist()
    assert kept["class"].tolist() == own["class"].tolist()
    assert (cells["status"] == "not-applicable").sum() == 1
    assert "learns instance" in cells[cells["status"] == "not-applicable"]["reason"].iloc[0]
    assert cells[cells["model"] == "unet"]["train_parameters"].unique().tolist() == [31_000_000]


def test_reading_the_summary_gives_the_tables_that_were_written(finished, tmp_path):
    run = RunDescription.read(finished)
    scores, cells = collect(run)
    summarise(finished, tmp_path / "summary")
    again = comparisons(run, *read_summary(tmp_path / "summary"))
    for key, table in comparisons(run, scores, cells).items():
        pd.testing.assert_frame_equal(table, again[key])


def test_table_has_mean_and_deviation_over_the_seeds(finished):
    run = RunDescription.read(finished)
    table = comparisons(run, *collect(run))["vessels", "semantic"]
    values = [
        pd.read_csv(cell(finished, "unet", seed, "vessels") / "scores.csv", keep_default_na=False)
        .query("metric == 'miou' and `class` == ''")["value"]
        .astype(float)
        .item()
        for seed in (0, 1)
    ]
    unet = row(table, "unet")
    assert unet["miou"] == pytest.approx(sum(values) / 2)
    assert unet["miou_sd"] == pytest.approx(abs(values[0] - values[1]) / math.sqrt(2))
    assert (unet["seeds"], unet["planned"]) == (2, 2)
    assert table["control"].tolist() == [False] * 3 + [True] * 3, "controls stand at the bottom"
    assert table["model"].tolist()[3:] == ["control_constant", "control_random", "control_truth"]
    assert table["miou"].iloc[:3].is_monotonic_decreasing
    assert not table["derived"].any()


def test_derived_scores_are_marked(finished):
    run = RunDescription.read(finished)
    table = comparisons(run, *collect(run))["bubbles", "instance"]
    assert row(table, "unet")["derived"]
    assert not row(table, "mask_rcnn_resnet50_fpn")["derived"]


@pytest.mark.parametrize("status", ["failed", "out-of-memory", "timeout", "interrupted"])
def test_a_cell_that_failed_is_shown_with_its_last_message(street, status):
    for seed in (0, 1):
        state = {"step": "train", "state": status, "reason": "loss_dice is nan at iteration 17 of 40"}
        (cell(street, "unet", seed) / "state.json").write_text(json.dumps(state))
    run = RunDescription.read(street)
    tables = comparisons(run, *collect(run))
    for task in ("semantic", "instance", "panoptic"):
        unet = row(tables["street", task], "unet")
        assert unet["status"] == status and unet["seeds"] == 0
        assert unet["reason"] == "seed 0, 1: loss_dice is nan at iteration 17 of 40"
        assert math.isnan(unet[PRIMARY[task]]), "scores of an earlier attempt do not count"


def test_one_failed_seed_leaves_the_mean_of_the_others(street):
    (cell(street, "unet", 1) / "state.json").write_text(
        '{"step": "predict", "state": "failed", "reason": "x"}'
    )
    run = RunDescription.read(street)
    unet = row(comparisons(run, *collect(run))["street", "semantic"], "unet")
    assert (unet["status"], unet["seeds"], unet["planned"]) == ("ok", 1, 2)
    assert math.isnan(unet["miou_sd"]) and unet["reason"] == "seed 1: x"


def spoil_nothing(folder: Path) -> None:
    for path in folder.glob("*.*"):
        path.unlink()


def spoil_state(folder: Path) -> None:
    (folder / "state.json").write_text("{")


def spoil_scores(folder: Path) -> None:
    (folder / "scores.csv").write_text("task,metric\nsemantic,miou\n")


def spoil_value(folder: Path) -> None:
    path = folder / "scores.csv"
    lines = path.read_text().splitlines()
    path.write_text("\n".join([lines[0], "semantic,miou,,much,False,dataset,void,undefined,truth,,,"]))


def remove_scores(folder: Path) -> None:
    (folder / "scores.csv").unlink()


def only_trained(folder: Path) -> None:
    (folder / "state.json").write_text('{"step": "train", "state": "ok"}')


def still_running(folder: Path) -> None:
    state = {"step": "train", "state": "running", "pid": os.getpid(), "node": platform.node()}
    (folder / "state.json").write_text(json.dumps(state))


def killed(folder: Path) -> None:
    child = os.spawnlp(os.P_NOWAIT, "true", "true")
    os.waitpid(child, 0)
    state = {"step": "train", "state": "running", "pid": child, "node": platform.node()}
    (folder / "state.json").write_text(json.dumps(state))


@pytest.mark.parametrize(
    ("spoil", "status", "reason"),
    [
        (spoil_nothing, "pending", "not started"),
        (only_trained, "pending", "train is done, evaluation is not"),
        (still_running, "pending", "train is running"),
        (killed, "failed", "train was killed"),
        (spoil_state, "failed", "is not valid JSON"),
        (spoil_scores, "failed", "has no column"),
        (spoil_value, "failed", "much"),
        (remove_scores, "interrupted", "the run was stopped while this cell was scored"),
    ],
)
def test_summary_stands_whatever_a_cell_lacks(street, tmp_path, spoil, status, reason):
    spoil(cell(street, "unet", 0))
    summarise(street, tmp_path / "summary")
    _, cells = read_summary(tmp_path / "summary")
    found = cells[(cells["model"] == "unet") & (cells["seed"] == 0)].iloc[0]
    assert found["status"] == status
    assert reason in found["reason"]
    assert (cells["status"] == "ok").sum() == len(RunDescription.read(street).cells) - 1


def test_a_failed_dataset_is_the_reason_of_its_cells(street):
    described = json.loads(street.read_text())
    described["datasets"]["street"]["state"] = str(street.parent / "datasets" / "street")
    street.write_text(json.dumps(described))
    folder = street.parent / "datasets" / "street"
    folder.mkdir(parents=True)
    (folder / "state.json").write_text('{"step": "lint", "state": "failed", "reason": "3 empty masks"}')
    _, cells = collect(RunDescription.read(street))
    assert set(cells["status"]) == {"failed"}
    assert set(cells["reason"]) == {"lint of the dataset: 3 empty masks"}


def test_unlike_contracts_never_share_a_column(street):
    path = cell(street, "mask_rcnn_resnet50_fpn", 0) / "scores.csv"
    path.write_text(path.read_text().replace(",,100,", ",,400,"))
    run = RunDescription.read(street)
    table = comparisons(run, *collect(run))["street", "instance"]
    assert {"ap [max_detections=100]", "ap [max_detections=400]"} <= set(table)
    assert "ap" not in table
    mask_rcnn = row(table, "mask_rcnn_resnet50_fpn")
    assert mask_rcnn["ap [max_detections=400]"] > 0 and mask_rcnn["ap [max_detections=100]"] > 0
    assert math.isnan(row(table, "unet")["ap [max_detections=400]"])


def test_a_class_called_na_is_a_class(street):
    path = cell(street, "unet", 0) / "scores.csv"
    before = path.read_text()
    path.write_text(before.replace(",car,", ",NA,"))
    scores, _ = collect(RunDescription.read(street))
    assert (scores["class"] == "NA").sum() == 3, "one a task"


def test_an_undefined_score_is_no_zero(street):
    for seed in (0, 1):
        path = cell(street, "unet", seed) / "scores.csv"
        lines = path.read_text().splitlines()
        at = next(i for i, line in enumerate(lines) if line.startswith("semantic,miou,,"))
        lines[at] = ",".join(["semantic", "miou", "", "", *lines[at].split(",")[4:]])
        path.write_text("\n".join(lines))
    run = RunDescription.read(street)
    table = comparisons(run, *collect(run))["street", "semantic"]
    assert math.isnan(row(table, "unet")["miou"]) and row(table, "unet")["status"] == "ok"
    assert table["model"].tolist().index("unet") == 3, "it stands after the networks that have one"


def test_a_network_without_masks_is_not_applicable_for_their_ap(street):
    for seed in (0, 1):
        path = cell(street, "mask_rcnn_resnet50_fpn", seed)
        lines = (path / "scores.csv").read_text().splitlines()
        kept = [line for line in lines if line.split(",")[1] in ("metric", "box_ap")]
        boxes = [line.replace("instance,", "detection,", 1) for line in kept if line.startswith("instance,")]
        (path / "scores.csv").write_text("\n".join(kept + boxes))
        document = json.loads((path / "scores.json").read_text())
        (path / "scores.json").write_text(json.dumps(document | {"not_applicable": "boxes only"}))
    run = RunDescription.read(street)
    scores, cells = collect(run)
    table = comparisons(run, scores, cells)["street", "instance"]
    shown = row(table, "mask_rcnn_resnet50_fpn")
    assert math.isnan(shown["ap"]) and shown["box_ap"] > 0 and shown["status"] == "ok"
    assert shown["reason"] == "seed 0, 1: boxes only"
    assert ": seed 0, 1: boxes only" in to_markdown(run, table)
    assert ": seed 0, 1: boxes only" in to_html(run, table)
    assert (
        "mask_rcnn_resnet50_fpn"
        not in comparisons(run, scores, cells)["street", "semantic"]["model"].tolist()
    )
    shown = row(comparisons(run, scores, cells)["street", "detection"], "mask_rcnn_resnet50_fpn")
    assert shown["box_ap"] > 0 and shown["reason"] == "", "it has the score that ranks"


def test_primary_metric_can_be_chosen(tmp_path):
    path = make_run(tmp_path, datasets=("street",), images=1, size=(40, 60), primary={"panoptic": "sq"})
    run = RunDescription.read(path)
    table = comparisons(run, *collect(run))["street", "panoptic"]
    networks = table[~table["control"]]
    assert networks["sq"].is_monotonic_decreasing
    assert table.columns[6] == "sq"


def test_a_file_that_describes_no_run_is_named(tmp_path):
    path = tmp_path / "run.json"
    path.write_text('{"name": "x", "cells": [{"dataset": "a"}], "datasets": {}}')
    with pytest.raises(SegbenchError, match=r"run\.json: does not describe a run"):
        summarise(path, tmp_path / "summary")
    assert not (tmp_path / "summary").exists()
