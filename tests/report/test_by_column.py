from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from fake_run import make_run
from scipy.special import expit, logit
from scipy.stats import t

from segbench.contract.evaluation import EvaluationOptions
from segbench.contract.run import RunDescription
from segbench.errors import SegbenchError
from segbench.evaluation.runner.evaluate import evaluate
from segbench.report.by_column import (
    Known,
    column_tables,
    read_columns,
    scores_by_column,
    values_by_name,
)
from segbench.report.page import report
from segbench.report.summarise import summarise

SCORES = {"a": 0.2, "b": 0.4, "c": 0.9, "d": 0.5}
VALUES = {"a": "old", "b": "old", "c": "new", "d": ""}


@pytest.fixture
def run(tmp_path: Path) -> RunDescription:
    run_json = make_run(tmp_path, ("vessels",), (0,), images=4, size=(40, 60))
    (tmp_path / "cases.csv").write_text("image,scanner\nimg001.jpg,old\nimg002,old\nimg003,NA\n")
    content = json.loads(run_json.read_text())
    file = str(tmp_path / "cases.csv")
    content["datasets"]["vessels"]["columns"] = {"file": file, "columns": ["scanner"]}
    run_json.write_text(json.dumps(content))
    data = tmp_path / "data/vessels"
    info = json.loads((data / "dataset.json").read_text())
    (data / "dataset.json").write_text(json.dumps(info | {"splits": {"test": 4}}))
    return RunDescription.read(run_json)


def images(*models: str) -> pd.DataFrame:
    rows = [(name, model, value) for model in models for name, value in SCORES.items()]
    return pd.DataFrame(rows, columns=["image", "model", "score"])


def test_means_counts_and_intervals_by_hand(run: RunDescription) -> None:
    known = {name: Known([value], name) for name, value in VALUES.items()}
    found = scores_by_column(run, known, "vessels", "semantic", images("unet"))
    assert found["value"].tolist() == ["new", "old", ""], "without a value is last"
    rows = {row["value"]: row for row in found.to_dict("records")}
    assert (rows["old"]["score"], rows["old"]["count"]) == (pytest.approx(0.3), 2)
    assert np.isnan([rows["new"]["low"], rows["new"]["high"]]).all(), "one image has no interval"
    # the standard error of a mean of two is half their difference; one degree of freedom
    reach = t.ppf(0.975, 1) * 0.1 / (0.3 * 0.7)
    expected = [expit(logit(0.3) - reach), expit(logit(0.3) + reach)]
    assert [rows["old"]["low"], rows["old"]["high"]] == pytest.approx(expected)


def test_images_of_a_group_count_as_one(run: RunDescription) -> None:
    known = {name: Known(["x"], "p1" if name in "ab" else name) for name in VALUES}
    found = scores_by_column(run, known, "vessels", "semantic", images("unet")).iloc[0]
    apart = {name: Known(["x"], name) for name in VALUES}
    single = scores_by_column(run, apart, "vessels", "semantic", images("unet")).iloc[0]
    assert found["score"] == single["score"] == pytest.approx(0.5) and found["count"] == 4
    assert found["high"] - found["low"] > single["high"] - single["low"]


def test_values_are_those_of_the_scored_images(run: RunDescription) -> None:
    found = values_by_name(run, "vessels")
    assert {name: known.values for name, known in found.items()} == {
        "img001": ["old"],
        "img002": ["old"],
        "img003": ["NA"],
        "img004": [""],
    }


def test_the_page_has_a_row_for_each_network_and_a_column_for_each_value(
    run: RunDescription, tmp_path: Path
) -> None:
    for model in ("unet", "fcn8s_vgg16"):
        cell = run.root / "cells/vessels" / model / "seed0"
        options = EvaluationOptions(bootstrap_samples=0)
        evaluate(tmp_path / "data/vessels", cell / "predictions", cell, options=options)
    summarise(run.root / "run.json", tmp_path / "summary")
    found = read_columns(tmp_path / "summary")
    own = found[found["model"] == "unet"].set_index("value")
    assert own.index.tolist() == ["NA", "old", ""] and own["count"].tolist() == [1, 2, 1]
    scores = pd.read_csv(tmp_path / "summary/images/vessels_semantic.csv")
    unet = scores[scores["model"] == "unet"].set_index("image")["score"]
    assert own.loc["old", "score"] == pytest.approx(unet[["img001", "img002"]].mean(), abs=1e-5)
    assert own.loc["", "score"] == pytest.approx(unet["img004"], abs=1e-5)
    (table,) = column_tables(
        run, found, "vessels", "semantic", pd.DataFrame({"model": ["fcn8s_vgg16", "unet", "other"]})
    )
    assert [head["value"] for head in table["heads"]] == ["NA", "old", ""]
    assert [row["title"] for row in table["rows"]] == ["fcn8s_vgg16", "unet"] and table["few"] == 5
    report(run.root / "run.json", tmp_path / "summary", tmp_path / "report")
    page = (tmp_path / "report/index.html").read_text()
    for part in ("Scores by scanner", "n = 2, few", "<em>no value</em>", "Few: fewer than 5 images"):
        assert part in page, part


def test_a_file_that_does_not_fit_stops_the_summary(run: RunDescription, tmp_path: Path) -> None:
    (tmp_path / "cases.csv").write_text("image,scanner\nimg999,old\n")
    with pytest.raises(SegbenchError, match=r"img999 \(line 2\)"):
        summarise(run.root / "run.json", tmp_path / "summary")
