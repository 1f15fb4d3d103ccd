"""The first table of the page."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from fake_run import make_run

from segbench.comparison.compare import read_comparison
from segbench.contract.run import RunDescription
from segbench.report.intervals import with_intervals
from segbench.report.matrix import matrix
from segbench.report.summarise import comparisons, read_summary, summarise


def build(run_json: Path) -> tuple[RunDescription, dict]:
    folder = run_json.parent / "summary"
    summarise(run_json, folder)
    run = RunDescription.read(run_json)
    tables = with_intervals(comparisons(run, *read_summary(folder)), read_comparison(folder / "comparison"))
    return run, matrix(run, tables)


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> tuple[RunDescription, dict]:
    path = make_run(tmp_path_factory.mktemp("run"), ("vessels", "street"), (0,), images=1, size=(40, 60))
    state = {"step": "train", "state": "failed", "reason": "no memory"}
    (path.parent / "cells/street/fcn8s_vgg16/seed0/state.json").write_text(json.dumps(state))
    return build(path)


def test_a_column_for_each_dataset_task_and_metric(built):
    columns = built[1]["columns"]
    primary = [(c["dataset"], c["task"], c["metric"]) for c in columns if c["primary"]]
    assert primary == [
        ("vessels", "semantic", "mIoU"),
        ("street", "semantic", "mIoU"),
        ("street", "instance", "AP"),
        ("street", "panoptic", "PQ"),
    ]
    assert all(len(row["cells"]) == len(columns) for row in built[1]["rows"])


def test_the_networks_that_are_best_most_often_come_first_and_controls_last(built):
    run, found = built
    rows = found["rows"]
    assert [row["title"] for row in rows[-3:]] == [run.title(model) for model in run.controls]
    counts = [row["first"] for row in rows if not row["control"]]
    assert counts == sorted(counts, reverse=True) and counts[0] >= 1
    for column in range(len(found["columns"])):
        cells = [row["cells"][column] for row in rows if not row["control"] and row["cells"][column]]
        best = max(float(c["text"]) for c in cells if not c["failed"])
        assert {c["text"] for c in cells if c["best"]} == {f"{best:.3f}"}
    assert not any(c["best"] or c["top"] for row in rows if row["control"] for c in row["cells"])


def test_failed_and_unplanned_cells_are_told_apart(built):
    rows = {row["title"]: row["cells"] for row in built[1]["rows"]}
    failed = rows["fcn8s_vgg16"][-1]
    assert failed["failed"] and failed["text"] == "failed"
    assert rows["mask_rcnn_resnet50_fpn"][0] is None, "it cannot learn from them"
