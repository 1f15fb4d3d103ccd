"""Scores of a dataset whose objects have only boxes."""

from __future__ import annotations

import csv
import io
from contextlib import redirect_stdout
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from segbench.contract.evaluation import EvaluationOptions
from segbench.contract.view import Category
from segbench.data.dataset import Converted, Dataset, Sample
from segbench.data.writing.writer import write_dataset
from segbench.evaluation.runner.evaluate import evaluate
from segbench.files import read_json, write_json

CATEGORIES = [Category(id=i, name=f"c{i}", isthing=True, color=(i, 0, 0)) for i in (1, 2)]
METRICS = ["box_ap", "box_ap50", "box_ap75", "box_ap_small", "box_ap_medium", "box_ap_large"]
METRICS += ["box_ar1", "box_ar10", "box_ar100", "box_ar_small", "box_ar_medium", "box_ar_large"]
"""COCO's twelve, in the order of COCOeval.stats."""
SIZE = 200


@pytest.fixture(scope="module")
def root(tmp_path_factory) -> Path:
    """Three images a split, each with one box of each class."""
    file = io.BytesIO()
    Image.fromarray(np.arange(SIZE * SIZE, dtype=np.uint8).reshape(SIZE, SIZE)).save(file, "PNG")
    boxes = [{"category_id": c.id, "bbox": [10 * c.id, 20, 30, 40]} for c in CATEGORIES]
    samples = [
        Sample(split, f"{split}{k}", file.getvalue(), ".png", instances=boxes)
        for split in ("train", "test")
        for k in range(3)
    ]
    out = tmp_path_factory.mktemp("boxes") / "boxes"
    converted = Converted(CATEGORIES, False, "test", samples, orientation="stored", boxes=True)
    about = {"name": "boxes", "title": "", "licence": "", "citation": "", "archives": {}, "channels": 1}
    assert write_dataset(converted, out, **about).tasks == ["detection"]
    return out


def scores(root: Path, folder: Path, results: list[dict]) -> dict[str, float]:
    index = {"dataset": "boxes", "split": "test", "task": "detection", "parts": ["boxes"], "images": 3}
    write_json(folder / "predictions.json", index)
    write_json(folder / "instances.json", results)
    evaluate(root, folder, folder, options=EvaluationOptions(families=(), bootstrap_samples=0))
    with (folder / "scores.csv").open() as file:
        rows = [r for r in csv.DictReader(file) if r["class"] == ""]
    assert {r["task"] for r in rows} == {"detection"}
    return {r["metric"]: float(r["value"] or -1) for r in rows}


coordinates = st.integers(0, 15).map(lambda k: 10.0 * k)
lengths = st.sampled_from([8.0, 20.0, 40.0, 97.0, 110.5])
boxes = st.tuples(coordinates, coordinates, lengths, lengths).map(list)
objects = st.tuples(st.integers(1, 3), st.integers(1, 2), boxes)
truths = st.lists(st.tuples(objects, st.booleans()), min_size=1, max_size=8)
detections = st.lists(st.tuples(objects, st.integers(0, 20)), min_size=1, max_size=12)


@settings(max_examples=30, deadline=None)
@given(true=truths, found=detections, copied=st.booleans())
def test_box_ap_is_that_of_pycocotools(root, tmp_path_factory, true, found, copied):
    if copied:  # detections that match
        found = found + [(one, 10 + k) for k, (one, _) in enumerate(true)]
    path = Dataset(root).split("test").instances_json
    content = read_json(path)
    content["annotations"] = [
        {
            "id": k,
            "image_id": i,
            "category_id": c,
            "bbox": box,
            "area": box[2] * box[3],
            "iscrowd": int(crowd),
        }
        for k, ((i, c, box), crowd) in enumerate(true, 1)
    ]
    write_json(path, content)
    results = [{"image_id": i, "category_id": c, "bbox": b, "score": s / 20} for (i, c, b), s in found]
    folder = tmp_path_factory.mktemp("cell")
    ours = scores(root, folder, results)
    with redirect_stdout(io.StringIO()):
        coco = COCO(path)
        reference = COCOeval(coco, coco.loadRes(str(folder / "instances.json")), "bbox")
        reference.evaluate()
        reference.accumulate()
        reference.summarize()
    assert [ours[m] for m in METRICS] == reference.stats.tolist()
