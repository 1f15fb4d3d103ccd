from __future__ import annotations

import json
import math
import shutil
from pathlib import Path

import pandas as pd
import pytest
from fake_run import make_run
from typer.testing import CliRunner

from segbench.cli import app
from segbench.contract.run import RunDescription
from segbench.errors import SegbenchError
from segbench.report.overview import overview, to_markdown
from segbench.report.summarise import collect, comparisons

DOCS = Path(__file__).parents[2] / "docs"


@pytest.fixture(scope="module")
def untouched(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_run(tmp_path_factory.mktemp("run"), images=1, size=(40, 60)).parent


@pytest.fixture
def finished(untouched: Path, tmp_path: Path) -> Path:
    return shutil.copytree(untouched, tmp_path / "run")


def cells(line: str) -> list[str]:
    return [cell.strip().replace("\\", "") for cell in line.strip("\n")[1:-1].split("|")]


def table(text: str) -> dict[str, dict[str, str]]:
    """Model -> column -> cell."""
    heads, _, *rows = (cells(line) for line in text.splitlines() if line.startswith("|"))
    return {row[0]: dict(zip(heads, row)) for row in rows}


def test_every_comparison_is_in_it_with_its_values(finished):
    run = RunDescription.read(finished / "run.json")
    frame = overview(run)
    tables = comparisons(run, *collect(run))
    assert len(frame) == sum(map(len, tables.values()))
    for (dataset, task), one in tables.items():
        rows = frame[(frame["dataset"] == dataset) & (frame["task"] == task)].set_index("model")
        for column in one.columns.drop("model"):
            expected = one.set_index("model").loc[rows.index, column]
            assert rows.get(column, expected).equals(expected) or column.endswith("_sd")
    models = frame["model"].drop_duplicates().tolist()
    assert models == [*run.networks, *run.controls], "in the order of the configuration"


def test_the_table_has_a_row_a_model_and_a_column_a_dataset_and_task(finished):
    run = RunDescription.read(finished / "run.json")
    frame = overview(run)
    shown = table(to_markdown(frame))
    columns = ["vessels mIoU", "bubbles mIoU", "bubbles AP", "street mIoU", "street AP", "street PQ"]
    assert list(next(iter(shown.values()))) == ["Model", *columns]
    unet = frame.query("model == 'unet' and dataset == 'vessels'").iloc[0]
    assert f"{unet['miou']:.3f} ± {unet['miou_sd']:.3f}" in shown[run.title("unet")]["vessels mIoU"]
    assert shown[run.title("unet")]["bubbles AP"].endswith("†")
    assert shown[run.title("mask_rcnn_resnet50_fpn")]["vessels mIoU"] == "", "it cannot learn from them"
    assert shown[f"*{run.title('control_truth')}*"]["street PQ"].startswith("1.000")
    for column in columns:
        bold = [name for name, row in shown.items() if "**" in row[column]]
        assert len(bold) == 1 and not bold[0].startswith("*")


def test_a_failed_network_is_shown_as_failed(finished):
    for seed in (0, 1):
        state = {"step": "train", "state": "out-of-memory", "reason": "needs 90 GB"}
        path = finished / "cells" / "vessels" / "unet" / f"seed{seed}" / "state.json"
        path.write_text(json.dumps(state))
    run = RunDescription.read(finished / "run.json")
    frame = overview(run)
    assert (
        frame.query("model == 'unet' and dataset == 'vessels'")["reason"].item() == "seed 0, 1: needs 90 GB"
    )
    assert table(to_markdown(frame))[run.title("unet")]["vessels mIoU"] == "out-of-memory"


def test_the_run_chooses_the_metric(finished):
    described = json.loads((finished / "run.json").read_text())
    described["options"] = {"primary": {"instance": "ap50"}}
    (finished / "run.json").write_text(json.dumps(described))
    frame = overview(RunDescription.read(finished / "run.json"))
    assert {"bubbles AP50", "street mIoU"} <= set(next(iter(table(to_markdown(frame)).values())))


def test_the_command_prints_the_table_and_writes_the_rows(finished, tmp_path):
    result = CliRunner().invoke(app, ["overview", str(finished), "--csv", str(tmp_path / "rows.csv")])
    assert result.exit_code == 0, result.output
    frame = pd.read_csv(tmp_path / "rows.csv")
    assert (
        result.output
        == to_markdown(overview(RunDescription.read(finished / "run.json")))
        == to_markdown(frame)
    )


def test_a_run_without_cells_is_refused(finished):
    run = RunDescription.read(finished / "run.json").model_copy(update={"cells": []})
    with pytest.raises(SegbenchError, match="has no cells"):
        overview(run)


def test_one_seed_has_no_deviation(tmp_path):
    run = RunDescription.read(make_run(tmp_path / "run", datasets=("vessels",), images=1, size=(40, 60)))
    run.cells = [cell for cell in run.cells if cell.seed == 0]
    frame = overview(run)
    assert not [column for column in frame if column.endswith("_sd")]
    assert "±" not in to_markdown(frame)


def test_the_page_of_real_data_shows_its_rows():
    frame = pd.read_csv(DOCS / "real_data.csv")
    assert to_markdown(frame) in (DOCS / "real_data.md").read_text(encoding="utf-8")
    truth = frame[frame["model"] == "control_truth"]
    assert set(truth["dataset"]) == set(frame["dataset"])
    assert all(math.isclose(row[row["primary"]], 1) for _, row in truth.iterrows())
