from __future__ import annotations

import csv
import json
import shutil

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

from segbench.contract.evaluation import EvaluationOptions
from segbench.contract.prediction import Instances, Panoptic, Prediction
from segbench.contract.scores import PRIMARY, SCORE_COLUMNS, Contract, UnlikeContracts, join
from segbench.contract.view import TASKS
from segbench.data.dataset import Dataset
from segbench.data.loading.targets import mask_bounds
from segbench.errors import SegbenchError
from segbench.evaluation.bootstrap import draws
from segbench.evaluation.intervals import difference
from segbench.evaluation.pooling import pool
from segbench.evaluation.resampled import resampled
from segbench.evaluation.runner.evaluate import evaluate
from segbench.evaluation.semantic import boundary
from segbench.evaluation.statistics import Statistics
from segbench.evaluation.worst import image_scores, worst
from segbench.files import read_json
from segbench.prediction.writer import PredictionWriter

OPTIONS = EvaluationOptions(bootstrap_samples=50)
NO_DEFECT = {"ar1", "box_ar1", "ece", "box_ece"}
"""Metrics that are not 1 for the truth: one detection cannot match several objects; an error of 0 is best."""


def write_predictions(dataset: Dataset, folder, parts, *, shift=0, task="panoptic", boxes_only=False):
    """Write the truth as predictions of some `parts`, moved `shift` columns to the right."""
    split = dataset.split("test")
    panoptic = json.loads(split.panoptic_json.read_text())
    view = dataset.view(task)
    segments_of = {a["image_id"]: a["segments_info"] for a in panoptic["annotations"]}
    with PredictionWriter(folder, split, view, dataset.view("semantic")) as writer:
        for record in split:
            labels = split.read_semantic(record.stem)
            ids = truth_ids(split, record)
            labels, ids = (np.roll(m, shift, 1) for m in (labels, ids))
            infos = segments_of[record.id]
            things = [s for s in infos if dataset.info.categories[s["category_id"] - 1].isthing]
            masks = np.array([ids == s["id"] for s in things]).reshape(-1, *ids.shape)
            index = view.index_of
            numbered = np.select([ids == s["id"] for s in infos], range(1, len(infos) + 1), 0)
            semantic_index = dataset.view("semantic").index_of
            bounds = mask_bounds(torch.from_numpy(masks)).numpy()
            whole = {
                "semantic": np.vectorize(semantic_index.get)(labels),
                "instances": Instances(
                    np.linspace(0.95, 0.6, len(things)),
                    np.array([index[s["category_id"]] for s in things]),
                    None if boxes_only else masks,
                    bounds,
                ),
                "panoptic": Panoptic(
                    numbered,
                    np.array([index.get(s["category_id"], 0) for s in infos]),
                    np.ones(len(infos)),
                ),
            }
            writer.add(record, Prediction(**{p: whole[p] for p in parts}))


def truth_ids(split, record):
    from PIL import Image

    from segbench.data.dataset import rgb_to_id

    return rgb_to_id(np.asarray(Image.open(split.panoptic_folder / f"{record.stem}.png")))


@pytest.fixture
def scored(shapes, tmp_path):
    """Scores a prediction of some parts; {(task, metric, class): row}, and the folder."""

    def run(*parts, name="cell", options=OPTIONS, **keywords):
        out = tmp_path / name
        write_predictions(Dataset(shapes), out / "predictions", parts, **keywords)
        evaluate(shapes, out / "predictions", out, options=options)
        with (out / "scores.csv").open() as file:
            rows = list(csv.DictReader(file))
        return {(r["task"], r["metric"], r["class"]): r for r in rows}, out

    return run


def test_truth_scores_one_on_everything(scored):
    rows, _ = scored("semantic", "instances", "panoptic")
    assert {task for task, _, _ in rows} == set(TASKS)
    for (_, metric, _), row in rows.items():
        assert tuple(row) == SCORE_COLUMNS and row["derived"] == "False"
        if metric not in NO_DEFECT and row["value"]:
            assert float(row["value"]) == pytest.approx(1, abs=1e-12), row
    assert all(rows[t, PRIMARY[t], ""]["value"] != "" for t in TASKS)


def test_boxes_without_masks_have_box_metrics_only(scored):
    with_masks, _ = scored("instances", task="instance", shift=2, name="masks")
    rows, out = scored("instances", task="instance", shift=2, boxes_only=True)
    assert read_json(out / "predictions/predictions.json")["parts"] == ["boxes"]
    expected = {k: r["value"] for k, r in with_masks.items() if k[1].startswith("box_")}
    assert {k: r["value"] for k, r in rows.items()} == expected
    for table in (with_masks, rows):  # detection: the same boxes, whether there are masks or not
        boxes = {k[1:]: r["value"] for k, r in table.items() if k[0] == "instance" and k in expected}
        assert {k[1:]: r["value"] for k, r in table.items() if k[0] == "detection"} == boxes
    document = read_json(out / "scores.json")
    assert "no AP of masks" in document["not_applicable"] and document["tide"]["ap50"] > 0
    low, high = document["intervals"]["instance"]["box_ap"]
    assert 0 < low <= float(rows["instance", "box_ap", ""]["value"]) <= high
    assert document["intervals"]["detection"]["box_ap"] == [low, high]
    assert len(worst(out / "per_image.parquet", "instance", 2)) == 2
    assert len(worst(out / "per_image.parquet", "detection", 2)) == 2
    assert worst(out / "per_image.parquet", "semantic", 2) == []


@pytest.mark.parametrize(
    ("parts", "task", "exact"),
    [
        (("panoptic",), "panoptic", {*TASKS}),
        (("semantic",), "semantic", {*TASKS}),  # no two things of a class touch
        (("instances",), "instance", {"detection", "instance"}),
    ],
)
def test_tasks_that_are_not_predicted_are_converted(scored, parts, task, exact):
    rows, out = scored(*parts, task=task)
    own = {"instances": ("instance", "detection")}.get(parts[0], parts)
    conversions = json.loads((out / "scores.json").read_text())["conversions"]
    for scored_task, metric in PRIMARY.items():
        row = rows[scored_task, metric, ""]
        assert row["derived"] == str(scored_task not in own)
        assert bool(conversions[scored_task]) == (scored_task not in own)
        value = float(row["value"])
        assert value == pytest.approx(1) if scored_task in exact else 0 < value < 1
    if parts == ("instances",):
        assert [float(rows["semantic", "miou", c]["value"]) for c in ("sky", "ground", "box", "disc")] == [
            0,
            0,
            1,
            1,
        ]
        assert float(rows["panoptic", "pq_things", ""]["value"]) == 1


def test_every_score_is_computed_from_the_statistics_alone(scored, tmp_path):
    rows, out = scored("semantic", "instances", "panoptic", shift=2)
    moved = tmp_path / "elsewhere.parquet"
    shutil.move(out / "per_image.parquet", moved)
    shutil.rmtree(out / "predictions")
    again = {(s.task, s.metric, s.name): s for s in pool(Statistics(moved))}
    assert again.keys() == rows.keys()
    for key, score in again.items():
        assert rows[key]["value"] == ("" if np.isnan(score.value) else repr(score.value))


def test_statistics_hold_each_image(scored, shapes):
    _, out = scored("semantic", "instances", "panoptic", shift=2)
    table = pd.read_parquet(out / "per_image.parquet")
    split = Dataset(shapes).split("test")
    for task in PRIMARY:
        assert set(table.loc[table["task"] == task, "image"]) == {r.stem for r in split}
    semantic = table[table["task"] == "semantic"]
    pixels = sum((split.read_semantic(r.stem) >= 0).sum() for r in split)
    assert sum(map(sum, semantic["pixels"])) == pixels


def test_worst_images(shapes, tmp_path):
    dataset = Dataset(shapes)
    split = dataset.split("test")
    write_predictions(dataset, tmp_path / "right", ("semantic", "instances", "panoptic"))
    write_predictions(dataset, tmp_path / "wrong", ("semantic", "instances", "panoptic"), shift=9)
    stem = split.images[3].stem
    for part in ("semantic", "panoptic"):
        shutil.copy(tmp_path / f"wrong/{part}/{stem}.png", tmp_path / f"right/{part}/{stem}.png")
    right, wrong = (json.loads((tmp_path / s / "instances.json").read_text()) for s in ("right", "wrong"))
    mixed = [r for r in right if r["image_id"] != 4] + [r for r in wrong if r["image_id"] == 4]
    (tmp_path / "right/instances.json").write_text(json.dumps(mixed))
    right, wrong = (json.loads((tmp_path / s / "panoptic.json").read_text()) for s in ("right", "wrong"))
    right["annotations"][3] = wrong["annotations"][3]
    (tmp_path / "right/panoptic.json").write_text(json.dumps(right))
    evaluate(shapes, tmp_path / "right", tmp_path / "out", options=OPTIONS)
    path = tmp_path / "out/per_image.parquet"
    for task in PRIMARY:
        values = {name: score for _, name, score in image_scores(Statistics(path), task)}
        assert len(values) == 5 and values.pop(stem) < 1
        assert list(values.values()) == pytest.approx([1] * 4)
        assert worst(path, task, 2)[0] == stem


@pytest.mark.parametrize("task", list(PRIMARY))
def test_resamples_are_scores_of_the_images_drawn(scored, task):
    rows, out = scored("semantic", "instances", "panoptic", shift=2)
    statistics = Statistics(out / "per_image.parquet")
    weights = draws(5, 40, 7)
    values = resampled(statistics, task, weights)[PRIMARY[task]]
    assert (weights.sum(1) == 5).all()
    single = np.array([score for *_, score in image_scores(statistics, task)])
    for k in np.flatnonzero((weights == 5).any(1)):  # one image drawn every time
        assert task == "instance" or values[k] == pytest.approx(single[weights[k].argmax()])
    assert np.isfinite(values).all() and len(set(values.round(6))) > 5
    low, high = json.loads((out / "scores.json").read_text())["intervals"][task][PRIMARY[task]]
    assert low < float(rows[task, PRIMARY[task], ""]["value"]) < high


def test_unit_weights_give_the_scores_themselves(scored):
    rows, out = scored("semantic", "instances", "panoptic", shift=2)
    statistics = Statistics(out / "per_image.parquet")
    for task in PRIMARY:
        found = resampled(statistics, task, np.ones((1, 5), np.uint16))
        assert PRIMARY[task] in found and len(found) >= 3
        for metric, (value,) in found.items():
            expected = float(rows[task, metric, ""]["value"] or "nan")
            assert value == pytest.approx(expected, abs=1e-6, nan_ok=True), metric


def test_boundaries_of_the_images_that_are_drawn(scored):
    """Against loops over the rows of the statistics."""
    _, out = scored("semantic", "instances", "panoptic", shift=2)
    statistics = Statistics(out / "per_image.parquet")
    ids = [c.id for c in statistics.metadata.tasks["semantic"].classes]
    weights = draws(5, 10, 3)
    found = resampled(statistics, "semantic", weights)
    (batch,) = statistics.batches("semantic", boundary.COLUMNS)
    numbers = np.array([batch.numbers(column) for column in boundary.COLUMNS]).T
    for drawn, iou, f1 in zip(weights, found["boundary_iou"], found["boundary_f1"]):
        ious, f1s = [], []
        for category in ids:
            both = union = times = total = 0.0
            for place, own, (b, t, p, true, true_hit, guess, hit) in zip(
                batch.image, batch.class_ids, numbers
            ):
                if own != category:
                    continue
                image = statistics.metadata.image_ids.index(batch.image_ids[place])
                both, union = both + drawn[image] * b, union + drawn[image] * (t + p - b)
                if true + guess:
                    times += drawn[image]
                    total += drawn[image] * 2 * (true_hit * hit) / max(1, true_hit * guess + hit * true)
            ious += [both / union] if union else []
            f1s += [total / times] if times else []
        assert iou == pytest.approx(np.mean(ious)) and f1 == pytest.approx(np.mean(f1s))


def test_paired_difference(scored):
    _, better = scored("semantic", "instances", "panoptic", name="better", shift=1)
    _, worse = scored("semantic", "instances", "panoptic", name="worse", shift=3)
    a, b = (Statistics(out / "per_image.parquet") for out in (better, worse))
    for task in PRIMARY:
        low, high = difference(a, b, task)
        assert 0 < low < high
        assert difference(a, a, task) == (0, 0)


def test_fewer_families(scored):
    rows, out = scored("semantic", "instances", options=EvaluationOptions(families=(), bootstrap_samples=0))
    metrics = {metric for _, metric, _ in rows}
    assert not metrics & {"boundary_iou", "object_f1", "aji", "ece"} and {"miou", "ap"} <= metrics
    document = json.loads((out / "scores.json").read_text())
    assert "tide" not in document and document["intervals"] == {}


def test_tide_counts_the_errors(scored):
    rows, out = scored("instances", task="instance", shift=3)
    found = json.loads((out / "scores.json").read_text())["tide"]
    assert found["ap50"] == pytest.approx(float(rows["instance", "ap50", ""]["value"]))
    assert found["count"]["localisation"] > 0 and found["delta_ap50"]["localisation"] > 0
    assert found["count"]["classification"] == found["count"]["duplicate"] == 0


def test_more_detections_where_images_are_crowded(scored, shapes, tmp_path):
    crowded = tmp_path / "crowded"
    shutil.copytree(shapes, crowded)
    info = json.loads((crowded / "dataset.json").read_text())
    (crowded / "dataset.json").write_text(json.dumps({**info, "max_instances": 375}))
    write_predictions(Dataset(crowded), tmp_path / "p", ("instances",), task="instance")
    evaluate(crowded, tmp_path / "p", tmp_path / "out", options=OPTIONS)
    scores = pd.read_csv(tmp_path / "out/scores.csv")
    assert set(scores.loc[scores["metric"] == "ap", "max_detections"]) == {400}
    assert "ar400" in set(scores["metric"])


def test_unlike_contracts_never_share_a_column(scored):
    rows, _ = scored("semantic", "instances", "panoptic", name="a")
    others, _ = scored("semantic", "instances", name="b", options=EvaluationOptions(max_detections=200))
    assert ("semantic", "miou") in join([*rows.values()])
    with pytest.raises(UnlikeContracts, match=r"instance ap: max_detections '100' and '200'"):
        join(r for r in [*rows.values(), *others.values()] if r["metric"] == "ap")
    with pytest.raises(UnlikeContracts, match="pooling"):
        join(
            {"task": "semantic", "metric": "dice", **vars(Contract(pooling, "void", "skipped"))}
            for pooling in ("dataset", "image")
        )


def test_predictions_of_another_dataset(shapes, tmp_path):
    write_predictions(Dataset(shapes), tmp_path / "p", ("semantic",))
    index = json.loads((tmp_path / "p/predictions.json").read_text())
    (tmp_path / "p/predictions.json").write_text(json.dumps({**index, "dataset": "drive"}))
    with pytest.raises(SegbenchError, match="predictions of dataset 'drive', not 'shapes'"):
        evaluate(shapes, tmp_path / "p", tmp_path / "out", options=OPTIONS)


def test_a_missing_map_leaves_nothing_behind(shapes, tmp_path):
    write_predictions(Dataset(shapes), tmp_path / "p", ("semantic",))
    stem = Dataset(shapes).split("test").images[2].stem
    (tmp_path / "p/semantic" / f"{stem}.png").unlink()
    with pytest.raises(SegbenchError, match=f"{stem}.png: does not exist"):
        evaluate(shapes, tmp_path / "p", tmp_path / "out", options=OPTIONS)
    assert not list((tmp_path / "out").iterdir())


def test_many_images_by_several_processes(shapes, tmp_path, monkeypatch):
    write_predictions(Dataset(shapes), tmp_path / "p", ("semantic", "instances", "panoptic"), shift=2)
    evaluate(shapes, tmp_path / "p", tmp_path / "one", options=OPTIONS)
    monkeypatch.setattr("segbench.evaluation.runner.workers._FEW", 1)
    monkeypatch.setattr("segbench.evaluation.runner.workers._CHUNK", 2)
    monkeypatch.setattr("segbench.evaluation.statistics._GROUP", 1)
    evaluate(shapes, tmp_path / "p", tmp_path / "many", options=OPTIONS, processes=2)
    one, many = (pd.read_csv(tmp_path / name / "scores.csv") for name in ("one", "many"))
    pd.testing.assert_frame_equal(one, many, rtol=1e-14)  # sums of fractions depend on their order
    assert Statistics(tmp_path / "many/per_image.parquet")._file.num_row_groups > 3
    stem = Dataset(shapes).split("test").images[4].stem
    (tmp_path / "p/semantic" / f"{stem}.png").unlink()
    with pytest.raises(SegbenchError, match=f"{stem}.png: does not exist"):  # also from another process
        evaluate(shapes, tmp_path / "p", tmp_path / "broken", options=OPTIONS, processes=2)


def test_void_all_over(shapes, tmp_path):
    """A dataset without a labelled pixel has undefined scores, and does not raise an error."""
    copy = tmp_path / "void"
    shutil.copytree(shapes, copy)
    split = Dataset(copy).split("test")
    write_predictions(Dataset(shapes), tmp_path / "p", ("semantic", "instances", "panoptic"))
    for record in split:
        for path, value in ((split.semantic_path(record.stem), 255), (split.panoptic_folder, 0)):
            path = path / f"{record.stem}.png" if path.is_dir() else path
            image = Image.open(path)
            Image.fromarray(np.full_like(np.asarray(image), value)).save(path)
    for path in (split.instances_json, split.panoptic_json):
        content = read_json(path)
        if path == split.instances_json:
            content["annotations"] = []
        for annotation in content["annotations"]:
            annotation["segments_info"] = []
        path.write_text(json.dumps(content))
    evaluate(copy, tmp_path / "p", tmp_path / "out", options=OPTIONS)
    document = read_json(tmp_path / "out/scores.json")
    for task, metric in PRIMARY.items():
        values = {s["value"] for s in document["scores"] if (s["task"], s["metric"]) == (task, metric)}
        assert values == {None} and document["intervals"][task] == {metric: None}
