"""Scores by case, from a dataset of slices and predictions on disk to scores.csv and scores.json."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from segbench.contract.evaluation import EvaluationOptions
from segbench.contract.prediction import Prediction
from segbench.contract.view import Category
from segbench.data.cases import Slice
from segbench.data.dataset import Converted, Dataset, Sample
from segbench.data.writing.writer import write_dataset
from segbench.evaluation.bootstrap import image_draws
from segbench.evaluation.jackknife import left_out
from segbench.evaluation.resampled import resampled
from segbench.evaluation.runner.evaluate import evaluate
from segbench.evaluation.statistics import Statistics
from segbench.files import read_json
from segbench.prediction.writer import PredictionWriter

CLASSES = [Category(id=i, name=n, isthing=False, color=(i, 0, 0)) for i, n in enumerate(("core", "edema"), 1)]
SPACING = (5.0, 1.0, 2.0)
SHAPE = (6, 8, 8)
OPTIONS = EvaluationOptions(families=("cases",), bootstrap_samples=0)


def labels(*boxes: tuple[int, slice, slice, slice]) -> np.ndarray:
    volume = np.zeros(SHAPE, np.int32)
    for value, *place in boxes:
        volume[tuple(place)] = value
    return volume


BOX = slice(1, 3), slice(2, 6), slice(2, 6)
LATER = slice(2, 4), slice(2, 6), slice(2, 6)
TRUTH = {"a": labels((1, *BOX)), "b": labels((2, *BOX)), "c": labels()}
GUESS = {"a": labels((1, *LATER)), "b": labels((2, *BOX)), "c": labels((1, *BOX))}
DIAGONAL = math.sqrt(25**2 + 7**2 + 14**2)


@pytest.fixture
def scored(tmp_path: Path) -> Callable[..., tuple[dict, dict]]:
    """Writes truth and predictions of volumes, and scores them: {(metric, class): row}, scores.json."""

    def run(truth, guess, *, options=OPTIONS, spacing=SPACING, skip=(), processes=1, grouped=False):
        png = io.BytesIO()
        Image.new("L", SHAPE[:0:-1]).save(png, "PNG")
        samples = [
            Sample(
                split,
                f"{case}_{i}",
                png.getvalue(),
                suffix=".png",
                semantic=ids,
                group=case if grouped else None,
                slice=Slice(case=case, index=i, slices=SHAPE[0], spacing=spacing),
            )
            for split in ("train", "test")
            for case, volume in truth.items()
            for i, ids in reversed([*enumerate(volume)])
            if (case, i) not in skip
        ]
        write_dataset(
            Converted(CLASSES, True, "test", samples, orientation="stored"),
            tmp_path / "data",
            name="toy",
            title="Toy",
            licence="",
            citation="",
            archives={},
            channels=1,
        )
        dataset = Dataset(tmp_path / "data")
        view = dataset.view("semantic")
        with PredictionWriter(tmp_path / "cell/predictions", dataset.split("test"), view, view) as writer:
            for record in dataset.split("test"):
                case, _, index = record.stem.rpartition("_")
                writer.add(record, Prediction(semantic=guess[case][int(index)]))
        out = tmp_path / "cell"
        evaluate(dataset.root, out / "predictions", out, options=options, processes=processes)
        with (out / "scores.csv").open() as file:
            rows = {(r["metric"], r["class"]): r for r in csv.DictReader(file)}
        return rows, read_json(out / "scores.json")

    return run


def test_means_over_cases(scored) -> None:
    """core: .5 in a, undefined in b, 0 in c. edema: 1 in b, undefined elsewhere."""
    rows, document = scored(TRUTH, GUESS, processes=2)
    value = {key: float(row["value"]) for key, row in rows.items() if row["value"]}
    assert value["case_dice", "core"] == 0.25 and value["case_dice", "edema"] == 1
    assert value["case_dice", ""] == 0.625
    assert value["case_hd95", "core"] == pytest.approx((5 + DIAGONAL) / 2)
    assert value["case_hd95", "edema"] == 0
    assert value["case_nsd", "core"] == 0.25 and value["case_nsd", ""] == 0.625
    assert value["dice", "core"] == pytest.approx(2 * 16 / (32 + 64))  # pooled
    assert ("case_dice", "background") not in rows
    assert document["cases"] == {
        "a": {
            "core": {"case_dice": 0.5, "case_hd95": 5.0, "case_nsd": 0.5},
            "edema": dict.fromkeys(("case_dice", "case_hd95", "case_nsd")),
        },
        "b": {
            "core": dict.fromkeys(("case_dice", "case_hd95", "case_nsd")),
            "edema": {"case_dice": 1.0, "case_hd95": 0.0, "case_nsd": 1.0},
        },
        "c": {
            "core": {"case_dice": 0.0, "case_hd95": pytest.approx(DIAGONAL), "case_nsd": 0.0},
            "edema": dict.fromkeys(("case_dice", "case_hd95", "case_nsd")),
        },
    }


def test_cases_can_be_left_out_as_groups(scored, tmp_path: Path) -> None:
    """core: .5 in a, undefined in b, 0 in c. edema: 1 in b, undefined elsewhere."""
    scored(TRUTH, GUESS, grouped=True)
    statistics = Statistics(tmp_path / "cell" / "per_image.parquet")
    found = resampled(statistics, "semantic", left_out(statistics.metadata))
    assert sorted(found["case_dice"].tolist()) == pytest.approx([0.25, 0.5, 0.75])
    assert sorted(found["case_nsd"].tolist()) == sorted(found["case_dice"].tolist())
    assert "case_hd95" not in found
    ones = np.ones((1, len(statistics.metadata.image_ids)))
    assert resampled(statistics, "semantic", ones, "case_dice")["case_dice"].tolist() == [0.625]


def test_cases_that_are_drawn_as_groups(scored, tmp_path: Path) -> None:
    """Against a plain bootstrap: a list of the drawn cases, a mean for each class, their mean."""
    scored(TRUTH, GUESS, grouped=True)
    statistics = Statistics(tmp_path / "cell" / "per_image.parquet")
    weights = image_draws(statistics.metadata, 30, 5)
    found = resampled(statistics, "semantic", weights)
    saved = read_json(tmp_path / "cell" / "scores.json")
    for metric in ("case_dice", "case_nsd"):
        expected = []
        for drawn in weights:
            values: dict[str, list[float]] = {}
            for case, classes in saved["cases"].items():
                times = drawn[statistics.metadata.image_ids.index(saved["case_images"][case][0])]
                for name, scores in classes.items():
                    if scores[metric] is not None:
                        values.setdefault(name, []).extend([scores[metric]] * int(times))
            means = [np.mean(of) for of in values.values() if of]
            expected.append(np.mean(means) if means else np.nan)
        assert len(set(expected)) > 3  # the draws differ
        assert found[metric] == pytest.approx(expected, nan_ok=True), metric


def test_slices_that_are_drawn_one_by_one_make_no_cases(scored, tmp_path: Path) -> None:
    scored(TRUTH, GUESS)
    statistics = Statistics(tmp_path / "cell" / "per_image.parquet")
    assert "case_dice" not in resampled(statistics, "semantic", left_out(statistics.metadata))


def test_contract(scored) -> None:
    rows, _ = scored({"a": TRUTH["a"]}, GUESS, options=OPTIONS.model_copy(update={"surface_tolerance": 5.0}))
    assert float(rows["case_nsd", "core"]["value"]) == 1.0
    assert {rows[m, ""]["pooling"] for m in ("case_dice", "case_hd95", "case_nsd")} == {"case"}
    assert rows["case_nsd", ""]["match"] == "surfaces within 5 mm"
    assert rows["case_dice", ""]["absent"] == "class skipped in that case"


def test_void_belongs_to_no_class(scored) -> None:
    """The half of the prediction that is beside the truth is void."""
    truth = TRUTH["a"].copy()
    truth[3] = -1
    rows, _ = scored({"a": truth}, GUESS)
    assert float(rows["case_dice", "core"]["value"]) == pytest.approx(2 * 16 / (32 + 16))


def test_a_case_without_all_slices_is_undefined(scored, caplog) -> None:
    rows, document = scored({"a": TRUTH["a"], "b": TRUTH["b"]}, GUESS, skip={("a", 5)})
    assert document["cases"]["a"]["core"]["case_dice"] is None
    assert rows["case_dice", "core"]["value"] == "" and float(rows["case_dice", "edema"]["value"]) == 1
    assert "case a lacks 1 slices" in caplog.text


def test_only_if_asked_for(scored) -> None:
    rows, document = scored(TRUTH, GUESS, options=EvaluationOptions(families=(), bootstrap_samples=0))
    assert "cases" not in document and not any(metric.startswith("case") for metric, _ in rows)


def test_datasets_without_volumes_have_no_such_scores(scored, tmp_path: Path) -> None:
    scored({"a": TRUTH["a"]}, GUESS)
    for split in ("train", "test"):
        (tmp_path / "data" / split / "cases.json").unlink()
    evaluate(tmp_path / "data", tmp_path / "cell/predictions", tmp_path / "cell", options=OPTIONS)
    assert "case_" not in (tmp_path / "cell/scores.csv").read_text()
