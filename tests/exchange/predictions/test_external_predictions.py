"""Copies of the truth in the layouts of other programs have the scores of a perfect prediction."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from outlined import Scored, objects_of, write_rows
from PIL import Image
from pycocotools import mask as rle

from segbench.data.dataset import Dataset, Split
from segbench.files import read_json, write_json


@pytest.fixture
def test_split(shapes: Path) -> Split:
    return Dataset(shapes).split("test")


def test_label_maps(shapes: Path, test_split: Split, tmp_path: Path, scored: Scored) -> None:
    folder = tmp_path / "maps"
    shutil.copytree(test_split.root / "semantic", folder)
    assert scored(shapes, folder, "label_maps", "semantic")["semantic", "miou"] == 1


def test_label_maps_with_values_from_0(
    shapes: Path, test_split: Split, tmp_path: Path, scored: Scored
) -> None:
    """As `semantic_mask` of Ultralytics, in the order of its `names`."""
    (tmp_path / "maps").mkdir()
    for record in test_split:
        values = np.asarray(Image.open(test_split.semantic_path(record.stem)))
        Image.fromarray(np.where(values == 255, 255, 4 - values).astype(np.uint8)).save(
            tmp_path / "maps" / f"{record.stem}.tif"
        )
    names = ["disc", "box", "ground", "sky"]
    scores = scored(shapes, tmp_path / "maps", "label_maps", "semantic", classes=dict(enumerate(names)))
    assert scores["semantic", "miou"] == 1


def test_nnunet(shapes: Path, test_split: Split, tmp_path: Path, scored: Scored) -> None:
    folder = tmp_path / "fold_0" / "validation"
    folder.mkdir(parents=True)
    labels = {"background": 0, "ground": 1, "sky": 2, "disc": 3, "box": 4, "ignore": 5}
    write_json(
        tmp_path / "dataset.json", {"labels": labels, "file_ending": ".png", "channel_names": {"0": "R"}}
    )
    write_json(folder / "summary.json", {})
    value_of = np.zeros(256, np.uint8)
    value_of[[1, 2, 3, 4]] = [labels[name] for name in ("sky", "ground", "box", "disc")]
    for record in test_split:
        values = np.asarray(Image.open(test_split.semantic_path(record.stem)))
        Image.fromarray(value_of[values]).save(folder / f"{record.stem}.png")
    assert scored(shapes, folder, "nnunet", "semantic")["semantic", "miou"] == 1


def test_ultralytics(shapes: Path, test_split: Split, tmp_path: Path, scored: Scored) -> None:
    for stem, objects in objects_of(test_split).items():
        rows = [(kind - 3, mask, 0.5 + 0.01 * k) for k, (kind, mask) in enumerate(objects)]
        write_rows(tmp_path / "predict" / "labels" / f"{stem}.txt", rows)
    scores = scored(shapes, tmp_path / "predict", "ultralytics", "instance")
    assert scores["instance", "ap"] == 1
    assert scores["detection", "box_ap"] == 1


def test_boxes_of_ultralytics(shapes: Path, test_split: Split, tmp_path: Path, scored: Scored) -> None:
    folder = tmp_path / "labels"
    folder.mkdir()
    for stem, objects in objects_of(test_split).items():
        lines = []
        for kind, mask in objects:
            x, y, width, height = rle.toBbox(rle.encode(np.asfortranarray(mask, dtype=np.uint8)))
            across, down = mask.shape[1], mask.shape[0]
            centre = (x + width / 2) / across, (y + height / 2) / down
            lines.append(" ".join(map(str, (kind - 3, *centre, width / across, height / down, 0.9))))
        (folder / f"{stem}.txt").write_text("\n".join(lines))
    scores = scored(shapes, tmp_path, "ultralytics", "instance")
    assert scores["detection", "box_ap"] == 1
    assert ("instance", "ap") not in scores


def test_maps_of_cellpose(shapes: Path, test_split: Split, tmp_path: Path, scored: Scored) -> None:
    """Beside its other files. All objects have one class, so those of the other are missed."""
    for stem, objects in objects_of(test_split).items():
        numbers = np.zeros(objects[0][1].shape, np.uint16)
        for number, (kind, mask) in enumerate(objects, 300):
            if kind == 4:
                numbers[mask] = number
        Image.fromarray(numbers).save(tmp_path / f"{stem}_cp_masks.png")
        Image.new("RGB", (8, 8)).save(tmp_path / f"{stem}_cp_output.png")
    scores = scored(shapes, tmp_path, "object_maps", "instance", classes={0: "disc"})
    assert scores["instance", "ap"] == 0.5


def test_coco_with_the_ids_of_another_file(
    shapes: Path, test_split: Split, tmp_path: Path, scored: Scored
) -> None:
    truth = read_json(test_split.instances_json)
    annotations = {
        "images": [
            {"id": 100 - image["id"], "file_name": f"val/{image['file_name']}"} for image in truth["images"]
        ],
        "categories": [{"id": 90, "name": "disc"}, {"id": 7, "name": "box"}, {"id": 8, "name": "bird"}],
        "annotations": [],
    }
    number_of = {3: 7, 4: 90}
    results = [
        {
            "image_id": 100 - one["image_id"],
            "category_id": number_of[one["category_id"]],
            "score": 0.9,
            "segmentation": one["segmentation"],
        }
        for one in truth["annotations"]
    ]
    results.append({**results[0], "category_id": 8})
    write_json(tmp_path / "truth.json", annotations)
    write_json(tmp_path / "predictions" / "results.json", results)
    scores = scored(shapes, tmp_path / "predictions", "coco", "instance", annotations=tmp_path / "truth.json")
    assert scores["instance", "ap"] == 1


def test_panoptic(shapes: Path, test_split: Split, tmp_path: Path, scored: Scored) -> None:
    """With image ids of its own, and without the lists of images and categories."""
    shutil.copytree(test_split.panoptic_folder, tmp_path / "predictions")
    annotations = read_json(test_split.panoptic_json)["annotations"]
    for one in annotations:
        one["image_id"] += 1000
    write_json(tmp_path / "predictions.json", {"annotations": annotations})
    scores = scored(shapes, tmp_path / "predictions.json", "panoptic", "panoptic")
    assert (scores["panoptic", "pq"], scores["semantic", "miou"]) == (1, 1)


def test_images_without_a_prediction_are_empty_if_the_entry_says_so(
    shapes: Path, test_split: Split, tmp_path: Path, scored: Scored
) -> None:
    first = test_split.images[0]
    shutil.copy(test_split.semantic_path(first.stem), tmp_path)
    scores = scored(shapes, tmp_path, "label_maps", "semantic", missing="empty")
    assert 0 < scores["semantic", "miou"] < 0.5


def test_an_image_without_objects_has_no_text_file(
    shapes: Path, test_split: Split, tmp_path: Path, scored: Scored
) -> None:
    stem, objects = next(iter(objects_of(test_split).items()))
    write_rows(tmp_path / f"{stem}.txt", [(kind - 3, mask, 1.0) for kind, mask in objects])
    scores = scored(shapes, tmp_path, "ultralytics", "instance")
    assert 0 < scores["instance", "ap"] < 0.5
    assert json.loads((tmp_path / "cell/predictions/predictions.json").read_text())["images"] == 5
