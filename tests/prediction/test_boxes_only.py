"""From an archive of Pascal VOC's XML to scores: convert, lint, train, predict, score, draw."""

from __future__ import annotations

import csv
import tarfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from segbench.contract.cell import CellSpec
from segbench.contract.evaluation import EvaluationOptions
from segbench.data.convert import ConvertSpec, convert_dataset
from segbench.data.dataset import Dataset
from segbench.data.lint.dataset import lint_dataset
from segbench.errors import SegbenchError
from segbench.evaluation.runner.evaluate import evaluate
from segbench.files import read_json
from segbench.prediction.controls import run_control
from segbench.prediction.runner.media import predict_files
from segbench.prediction.runner.predict import predict
from segbench.report.regions import prediction_reader, truth_reader
from segbench.training.runner.train import train

NETWORK = {
    "class_path": "segbench.models.faster_rcnn:FasterRCNN",
    "options": {
        "backbone": "test_resnet",
        "fpn_channels": 8,
        "box_channels": 8,
        "anchor_sizes": [8, 16, 32, 64, 128],
        "score_threshold": 0.0,
        "detections_per_image": 5,
    },
    "task": "detection",
    "seed": 0,
    "recipe": {"iterations": 2, "batch_size": 2, "augment": {"crop": [48, 48], "scale": [0.5, 2]}},
}
SPEC = {
    "title": "Boxes",
    "convert": "segbench.data.converters.voc_xml:convert",
    "tasks": ["detection"],
    "channels": 3,
    "options": {},
    "licence": "",
    "citation": "",
}


@pytest.fixture
def dataset(tmp_path: Path) -> Path:
    root = tmp_path / "VOCdevkit" / "VOC2007"
    for folder in ("JPEGImages", "Annotations", "ImageSets/Main"):
        (root / folder).mkdir(parents=True)
    for k, name in enumerate("abcd"):
        pixels = np.random.default_rng(k).integers(0, 90, (60, 70, 3), np.uint8)
        pixels[10:30, 20 + k : 50] = 220
        Image.fromarray(pixels).save(root / "JPEGImages" / f"{name}.jpg")
        box = f"<xmin>{21 + k}</xmin><ymin>11</ymin><xmax>50</xmax><ymax>30</ymax>"
        (root / "Annotations" / f"{name}.xml").write_text(
            f"<annotation><object><name>plate</name><bndbox>{box}</bndbox></object></annotation>"
        )
    for split, names in (("train", "ab"), ("val", "cd")):
        (root / "ImageSets" / "Main" / f"{split}.txt").write_text("\n".join(names))
    with tarfile.open(tmp_path / "boxes.tar", "w") as archive:
        archive.add(tmp_path / "VOCdevkit", "VOCdevkit")
    convert_dataset("boxes", ConvertSpec(**SPEC), [tmp_path / "boxes.tar"], tmp_path / "boxes")
    lint_dataset(tmp_path / "boxes").raise_on_errors()
    return tmp_path / "boxes"


def scores(dataset: Path, folder: Path) -> dict[str, float]:
    evaluate(dataset, folder / "predictions", folder, options=EvaluationOptions(bootstrap_samples=5))
    with (folder / "scores.csv").open() as file:
        rows = [r for r in csv.DictReader(file) if not r["class"]]
    assert {r["task"] for r in rows} == {"detection"}
    return {r["metric"]: float(r["value"] or "nan") for r in rows}


def test_a_network_of_boxes_from_archive_to_scores(dataset: Path, tmp_path: Path):
    train(dataset, CellSpec.model_validate(NETWORK), tmp_path / "cell", threads=1)
    predict(dataset, tmp_path / "cell" / "model.pt", tmp_path / "cell" / "predictions", threads=1)
    found = scores(dataset, tmp_path / "cell")
    assert 0 <= found["box_ap"] <= 1 and "ap" not in found
    document = read_json(tmp_path / "cell" / "scores.json")
    assert "not_applicable" not in document and document["tide"]["ap50"] >= 0
    assert document["intervals"]["detection"].keys() == {"box_ap"}
    split = Dataset(dataset).split("val")
    read = prediction_reader(tmp_path / "cell" / "predictions", split, "detection", 0.0)
    assert all(r.frame and r.mask.shape == (30, 35) for r in read(split.images[0], (30, 35)))
    predict_files(tmp_path / "cell" / "model.pt", [split.images[0].path], tmp_path / "out")
    assert Image.open(tmp_path / "out" / "c.png").size == (70, 60)
    model, given = tmp_path / "cell" / "model.pt", [split.images[0].path]
    with pytest.raises(
        SegbenchError, match="predicts only boxes; label maps and panoptic segments need masks"
    ):
        predict_files(model, given, tmp_path / "masks", products=["masks"])
    predict_files(model, given, tmp_path / "boxes", products=["coco", "csv"], min_score=0.0)
    results = read_json(tmp_path / "boxes" / "coco" / "results.json")
    with (tmp_path / "boxes" / "objects.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == len(results) and all("segmentation" not in one for one in results)
    assert all(float(row["area"]) > 0 and row["length"] == "" for row in rows)


@pytest.mark.parametrize(("control", "score"), [("Truth", 1), ("Constant", 0), ("Random", 0)])
def test_controls_of_boxes(dataset: Path, tmp_path: Path, control: str, score: float):
    out = tmp_path / control / "predictions"
    run_control(f"segbench.prediction.controls:{control}", dataset, "detection", 0, out)
    assert read_json(out / "predictions.json")["parts"] == ["boxes"]
    found = [o["bbox"] for o in read_json(out / "instances.json")]
    assert scores(dataset, tmp_path / control)["box_ap"] == score
    if control == "Constant":
        assert found == [[0, 0, 70, 60]] * 2
    if control == "Truth":
        assert found == [[22, 10, 28, 20], [23, 10, 27, 20]]


def test_true_boxes_are_drawn_as_frames(dataset: Path):
    split = Dataset(dataset).split("val")
    (region,) = truth_reader(split, "detection")(split.images[0], (60, 70))
    inside = np.zeros((60, 70), bool)
    inside[10:30, 22:50] = True
    assert region.frame and region.category.name == "plate" and (region.mask == inside).all()
