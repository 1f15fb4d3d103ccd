import csv
import json

import numpy as np
import pytest
from overlapping_data import EMPTY, PREDICTED, TRUTH, layers, predict

from segbench.contract.evaluation import EvaluationOptions
from segbench.contract.view import has_class
from segbench.data.dataset import Dataset
from segbench.data.writing.writer import write_dataset
from segbench.errors import SegbenchError
from segbench.evaluation.bootstrap import draws
from segbench.evaluation.resampled import resampled
from segbench.evaluation.runner.evaluate import evaluate
from segbench.evaluation.semantic.centreline import COLUMNS, measure
from segbench.evaluation.semantic.overlapping import read_bits
from segbench.evaluation.statistics import Statistics
from segbench.evaluation.worst import image_scores

ONE_MORE = EMPTY.copy()
ONE_MORE[1, 5] = 1


@pytest.fixture
def scored(tmp_path):
    """Scores predicted maps of the test images; returns values by metric and class, and the folder."""
    texts = {"title": "", "licence": "", "citation": ""}
    write_dataset(layers(), tmp_path / "data", name="layers", archives={}, channels=3, **texts)
    dataset = Dataset(tmp_path / "data")

    def run(*maps):
        folder = predict(dataset, tmp_path / "predictions", *maps)
        evaluate(dataset.root, folder, tmp_path / "out", options=EvaluationOptions(bootstrap_samples=20))
        with (tmp_path / "out" / "scores.csv").open() as file:
            rows = list(csv.DictReader(file))
        assert {r["match"] for r in rows if "boundary" not in r["metric"]} == {"each class by itself"}
        values = {(r["metric"], r["class"]): float(r["value"]) if r["value"] else None for r in rows}
        return values, tmp_path / "out"

    return run


def test_each_class_is_a_binary_problem(scored):
    """22 labelled pixels. left: 6 true, 6 predicted, 4 of them right. right: 5, 5 and 4."""
    values, _ = scored(PREDICTED, ONE_MORE)
    expected = {
        "miou": (4 / 8, 4 / 6),
        "dice": (8 / 12, 8 / 10),
        "precision": (4 / 6, 4 / 5),
        "recall": (4 / 6, 4 / 5),
        "specificity": (14 / 16, 16 / 17),
        "accuracy": (18 / 22, 20 / 22),
        # the second image has no score for `right`, and 0 for `left`
        "miou_per_image": (4 / 7 / 2, 4 / 6),
        "dice_per_image": (8 / 11 / 2, 8 / 10),
    }
    for metric, (left, right) in expected.items():
        found = [values[metric, name] for name in ("left", "right", "")]
        assert found == pytest.approx([left, right, (left + right) / 2]), metric
    assert {metric for metric, _ in values} == {*expected, "boundary_iou", "boundary_f1"}


def test_the_truth_scores_one(scored):
    values, folder = scored(TRUTH.clip(min=0), EMPTY)
    assert set(values.values()) == {1.0}
    assert "confusion" not in json.loads((folder / "scores.json").read_text())


def test_contours_are_of_each_class_by_itself(scored):
    """One pixel more of `left` leaves the contours of `right` as they are."""
    more = TRUTH.clip(min=0)
    more[0, 0] |= 1
    values, _ = scored(more, EMPTY)
    assert values["boundary_f1", "right"] == values["boundary_iou", "right"] == 1
    assert values["boundary_iou", "left"] == pytest.approx(6 / 7)


def test_images_and_resamples_have_the_mean_over_the_classes(scored):
    values, folder = scored(PREDICTED, ONE_MORE)
    statistics = Statistics(folder / "per_image.parquet")
    found = {name: value for _, name, value in image_scores(statistics, "semantic")}
    assert found == {"c": pytest.approx((4 / 7 + 4 / 6) / 2), "d": 0}
    by_draw = {(1, 1): values["miou", ""], (2, 0): (4 / 7 + 4 / 6) / 2, (0, 2): 0}
    weights = draws(2, 20, 0)
    expected = [by_draw[tuple(w)] for w in weights.tolist()]
    assert resampled(statistics, "semantic", weights)["miou"] == pytest.approx(expected)


def test_skeletons_are_of_each_class_by_itself(scored, tmp_path):
    _, folder = scored(PREDICTED, ONE_MORE)
    options = EvaluationOptions(families=("cldice",), bootstrap_samples=0)
    evaluate(tmp_path / "data", tmp_path / "predictions", folder, options=options)
    rows = json.loads((folder / "scores.json").read_text())["scores"]
    found = {row["class"]: row["value"] for row in rows if row["metric"] == "cldice"}
    for index, name in enumerate(("left", "right")):
        single = []
        for truth, guess in ((TRUTH, PREDICTED), (EMPTY, ONE_MORE)):
            true = np.where(truth < 0, 2, has_class(truth, index))
            counted = measure(true, has_class(guess, index).astype(int), 2, [1])
            t, th, p, ph = (int(counted[column][1]) for column in COLUMNS)
            if t + p:
                sensitivity, precision = th / max(t, 1), ph / max(p, 1)
                single.append(2 * sensitivity * precision / max(sensitivity + precision, 1e-9))
        assert 0 < np.mean(single) < 1 or name == "right"
        assert found[name] == pytest.approx(np.mean(single))
    statistics = Statistics(folder / "per_image.parquet")
    assert resampled(statistics, "semantic", np.ones((1, 2)))["cldice"] == pytest.approx([found[""]])


def test_values_beyond_the_classes_are_refused():
    values = np.array([[0, 3], [255, 4]], np.uint8)
    with pytest.raises(SegbenchError, match="value 4 at row 1, column 1 is no sum of bits of 2") as error:
        read_bits(values, 2, 255, "x.png")
    assert error.value.where == "x.png" and "values are 0 to 3" in error.value.remedy
    values[1, 1] = 1
    assert read_bits(values, 2, 255, "x.png").tolist() == [[0, 3], [-1, 1]]
