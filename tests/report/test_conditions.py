import json
import math
from collections import Counter

import numpy as np
import pandas as pd
import pytest
from fake_run import make_dataset, make_predictions, make_run
from hypothesis import given
from hypothesis import strategies as st

from segbench.contract.evaluation import EvaluationOptions
from segbench.contract.run import DatasetDescription, RunDescription
from segbench.data.properties import FILE, Properties, write_properties
from segbench.evaluation.runner.evaluate import evaluate
from segbench.files import read_json
from segbench.report import conditions as module
from segbench.report.condition_plots import condition_figures, label
from segbench.report.conditions import _binned, _object_counts, _properties, bin_of, conditions, edges
from segbench.report.image_scores import path_of, read_image_scores, scores_of_images
from segbench.report.plots import draw_figures
from segbench.report.summarise import collect, comparisons

OPTIONS = EvaluationOptions(families=("objects",), bootstrap_samples=0)


@given(st.lists(st.integers(0, 12) | st.floats(-1e6, 1e6), max_size=80))
def test_bins_hold_all_values_and_none_is_empty(values):
    limits = edges(np.array(values, float))
    if len(values) < 10:
        assert limits is None
    if limits is not None:
        places = bin_of(np.array(values, float), limits)
        assert set(places) <= set(range(len(limits) - 1)) and {0, len(limits) - 2} <= set(places)
        assert (np.diff(limits) > 0).all()


def test_bins_by_hand():
    limits = edges(np.arange(10.0))
    assert bin_of(np.arange(10.0), limits).tolist() == [0] * 5 + [1] * 5
    assert edges(np.array([3.0] * 40)) is None, "one value is one bin"
    assert edges(np.array([*range(10), np.nan, np.inf])).tolist() == [0, 4.5, 9]
    values = pd.Series({f"i{k}": float(k) for k in range(10)})
    scores = pd.DataFrame(
        [(f"i{k}", m, s) for k in range(10) for m, s in (("a", k / 10), ("b", 1.0))],
        columns=["name", "model", "score"],
    )
    found = _binned(values, scores).set_index(["bin", "model"])
    assert found.loc[(0, "a"), "score"] == pytest.approx(0.2)
    assert found.loc[(1, "a"), "score"] == pytest.approx(0.7)
    assert found.loc[(1, "b"), ["low", "high", "count", "score"]].tolist() == [5, 9, 5, 1]


@pytest.fixture(scope="module")
def scored(tmp_path_factory):
    """Bubbles, of which one network finds only the large ones, and only in bright images."""
    root = tmp_path_factory.mktemp("run")
    run_json = make_run(root, ("bubbles",), (0,), images=1, size=(20, 30))
    data = root / "bubbles12"
    scenes = make_dataset(data, "bubbles12", images=12, size=(120, 160))
    content = json.loads(run_json.read_text())
    content["datasets"]["bubbles"]["root"] = str(data)
    kept = ("mask_rcnn_resnet50_fpn", "control_truth")
    content["cells"] = [c for c in content["cells"] if c["model"] in kept]
    run_json.write_text(json.dumps(content))
    cell = run_json.parent / "cells/bubbles/mask_rcnn_resnet50_fpn/seed0"
    objects = read_json(data / "test/instances.json")["annotations"]
    found = [
        {
            "image_id": one["image_id"],
            "category_id": 1,
            "segmentation": one["segmentation"],
            "bbox": one["bbox"],
            "score": 0.9,
        }
        for one in objects
        if one["area"] > 500 and one["image_id"] > 6
    ]
    make_predictions(cell / "predictions", data, scenes, "instance", 1)
    (cell / "predictions/instances.json").write_text(json.dumps(found))
    evaluate(data, cell / "predictions", cell, options=OPTIONS)
    rows = [("test", f"img{k:03}", Properties(k / 12, 5.0)) for k in range(1, 13)]
    write_properties(data / FILE, [*rows, ("train", "img001", Properties(9.0, 9.0))])
    run = RunDescription.read(run_json)
    scores, cells = collect(run)
    return run, scores, cells, objects


def of(scored, task):
    run, _, cells, _ = scored
    images = scores_of_images(run, cells, "bubbles", task, ["mask_rcnn_resnet50_fpn"])
    return conditions(run, cells, "bubbles", task, images=images, classes=pd.DataFrame(columns=["class"]))


def test_recall_by_size_is_that_of_the_objects(scored):
    objects = scored[3]
    found = of(scored, "instance")
    sizes = found[found["condition"] == "size"]
    assert sizes["count"].sum() == len(objects) and len(sizes) == 5
    for row in sizes.to_dict("records"):
        own = [o for o in objects if row["low"] - 1e-9 <= math.sqrt(o["area"]) <= row["high"] + 1e-9]
        # the same mask is found wherever it is the best partner; equal masks do not occur here
        expected = sum(o["area"] > 500 and o["image_id"] > 6 for o in own) / len(own)
        assert row["score"] == pytest.approx(expected)
    assert sizes["score"].iloc[0] == 0 and sizes["score"].iloc[-1] > 0.3


def test_properties_are_those_of_the_evaluation_split(scored):
    found = of(scored, "instance")
    dark, bright = found[found["condition"] == "brightness"].to_dict("records")
    assert dark["score"] == 0 and bright["score"] > 0.3
    assert (dark["count"], bright["count"], bright["high"]) == (6, 6, 1)
    assert "sharpness" not in set(found["condition"]), "all images are as sharp"


def test_objects_are_counted_by_image(scored):
    run, _, cells, objects = scored
    found = _object_counts(run, cells, "bubbles", ["mask_rcnn_resnet50_fpn"])
    assert found == Counter(f"img{o['image_id']:03}" for o in objects)
    assert "size" not in set(of(scored, "semantic")["condition"])


def test_frequency_needs_ten_classes(scored, monkeypatch):
    run, _, cells, _ = scored
    images = scores_of_images(run, cells, "bubbles", "instance", ["mask_rcnn_resnet50_fpn"])
    rows = [(f"c{k}", "mask_rcnn_resnet50_fpn", k / 10) for k in range(10)]
    classes = pd.DataFrame(rows, columns=["class", "model", "value"])
    monkeypatch.setattr(module, "occurrences", lambda *_: {f"c{k}": k for k in range(10)})
    for count, expected in ((10, [0.2, 0.7]), (9, [])):
        found = conditions(run, cells, "bubbles", "instance", images=images, classes=classes[:count])
        assert found.loc[found["condition"] == "frequency", "score"].tolist() == pytest.approx(expected)


def test_scores_of_images_come_back_from_the_summary(scored, tmp_path):
    run, _, cells, _ = scored
    images = scores_of_images(run, cells, "bubbles", "instance", ["mask_rcnn_resnet50_fpn"])
    (tmp_path / "images").mkdir()
    images.to_csv(path_of(tmp_path, "bubbles", "instance"), index=False)
    found = read_image_scores(tmp_path, "bubbles", "instance")
    assert found.index.tolist() == [f"img{k:03}" for k in range(1, 13)]
    assert (found.loc["img001":"img006", "mask_rcnn_resnet50_fpn"] == 0).all()
    assert read_image_scores(tmp_path, "bubbles", "semantic").empty


def test_a_plot_of_all_known_properties(scored, tmp_path):
    run, scores, cells, _ = scored
    drawn = draw_figures(
        run, condition_figures(run, comparisons(run, scores, cells), of(scored, "instance")), tmp_path
    )
    assert [plot.stem for plot in drawn] == ["conditions_bubbles_instance"]
    text = (tmp_path / "conditions_bubbles_instance.svg").read_text()
    for words in ("Size of objects", "Brightness", "n = 6", "0.0833–0.5"):
        assert words in text, words


def test_labels_of_bins():
    assert label(3, 3) == "3" and label(0.0833, 1234) == "0.0833–1,234"


def test_in_a_cross_validation_images_of_all_splits_have_properties(tmp_path):
    one, two, three = (Properties(k / 4, float(k)) for k in (1, 2, 3))
    rows = [("train", "a", one), ("val", "a", two), ("val", "b", three)]
    write_properties(tmp_path / FILE, rows)
    data = DatasetDescription(root=tmp_path, folds=2)
    run = RunDescription(
        name="r", cells=[], datasets={"d": data, "e": DatasetDescription(root=tmp_path / "x")}
    )
    found = _properties(run, "d")
    assert (found["train_a"], found["val_a"], found["b"]) == (one, two, three)
    assert _properties(run, "e") == {}, "not measured"
