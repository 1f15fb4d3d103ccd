from __future__ import annotations

import io
import json

import numpy as np
import pytest
from PIL import Image

from segbench.contract.view import Category
from segbench.data.dataset import Converted, Sample
from segbench.data.writing.checked_boxes import clipped
from segbench.errors import SegbenchError

CATEGORIES = [
    Category(id=1, name="cat", isthing=True, color=(1, 0, 0)),
    Category(id=2, name="dog", isthing=True, color=(2, 0, 0)),
]
H, W = 20, 30


def converted(*objects: dict, **parts) -> Converted:
    file = io.BytesIO()
    Image.fromarray(np.arange(H * W, dtype=np.uint8).reshape(H, W)).save(file, "PNG")
    samples = [
        Sample(split, split, file.getvalue(), ".png", instances=list(objects), **parts)
        for split in ("train", "test")
    ]
    return Converted(CATEGORIES, False, "test", samples, orientation="stored", boxes=True)


def box(*values: float, category: int = 1, **more) -> dict:
    return {"category_id": category, "bbox": list(values), **more}


def test_a_dataset_of_boxes_has_neither_masks_nor_maps(write):
    dataset = write(converted(box(1, 2, 3, 4), box(5, 6, 7.5, 8, category=2, iscrowd=1, area=31)), channels=1)
    assert (dataset.info.tasks, dataset.info.derived, dataset.info.max_instances) == (["detection"], [], 1)
    split = dataset.split("train")
    assert sorted(p.name for p in split.root.iterdir()) == [
        "images",
        "instances.index.npz",
        "instances.json",
    ]
    content = json.loads(split.instances_json.read_text())
    assert content["images"] == [{"id": 1, "file_name": "train.png", "width": W, "height": H}]
    assert content["annotations"] == [
        {"id": 1, "image_id": 1, "category_id": 1, "iscrowd": 0, "area": 12, "bbox": [1, 2, 3, 4]},
        {"id": 2, "image_id": 1, "category_id": 2, "iscrowd": 1, "area": 31, "bbox": [5, 6, 7.5, 8]},
    ]
    assert [c.id for c in dataset.view("detection").classes] == [1, 2]


def test_boxes_may_come_with_class_maps(write):
    dataset = write(converted(box(1, 2, 3, 4), semantic=np.ones((H, W), int)), channels=1)
    assert (dataset.info.tasks, dataset.info.derived) == (["semantic", "detection"], [])
    assert (dataset.split("test").read_semantic("test") == 1).all()


def test_the_digest_depends_on_the_boxes(write):
    first, second = (write(converted(box(1, 2, 3, k)), channels=1, name=f"d{k}") for k in (4, 5))
    assert first.info.digest != second.info.digest


def test_boxes_are_clipped_and_those_without_area_dropped_with_a_word(write, caplog):
    dataset = write(converted(box(-2, 15, 10, 10), box(4, 4, 0, 9), box(25, 0, 5.5, 3)), channels=1)
    content = json.loads(dataset.split("test").instances_json.read_text())
    assert [a["bbox"] for a in content["annotations"]] == [[0, 15, 8, 5], [25, 0, 5, 3]]
    assert [a["area"] for a in content["annotations"]] == [40, 15]
    assert "2 boxes without an area were skipped" in caplog.text
    assert "2 boxes reach out of their image; they were clipped to it" in caplog.text  # by a pixel or more


@pytest.mark.parametrize("given", [[0, 0, 30, 20], [0.1, 0.2, 29.9, 19.8], [3, 4, 0, 0]])
def test_a_box_in_the_image_stays_as_it_is(given):
    assert clipped(given, H, W) == given


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (None, "its box None is not four numbers"),
        ([1, 2, 3], r"\[1, 2, 3\] is not four numbers, \[x, y, width, height\]"),
        ([1, 2, "3", 4], "'3' is text|'3'"),
        ([1, 2, float("nan"), 4], "nan"),
        ([1, 2, 3, 10**400], "10"),
        ([1, 2, -3, 4], "negative width or height"),
        ([31, 2, 3, 4], "outside of 30x20 pixels"),
        ([1, -9, 3, 4], "outside of 30x20 pixels"),
        ([1, 2, 60, 4], "outside of 30x20 pixels"),
        ([-31, 2, 50, 4], "outside of 30x20 pixels"),
    ],
)
def test_boxes_that_are_none(given, message):
    with pytest.raises(ValueError, match=message):
        clipped(given, H, W)


def test_all_wrong_boxes_of_all_images_are_listed(write):
    wrong = [box(40, 2, 3, 4), box(1, 2, -3, 4, category=2)]
    with pytest.raises(SegbenchError) as raised:
        write(converted(*wrong), channels=1)
    text = str(raised.value)
    for name in ("train/train.png", "test/test.png"):
        assert f"{name}: object 1 (cat): its box [40, 2, 3, 4]" in text
    assert text.count("object 2 (dog): its box [1, 2, -3, 4] has a negative width or height") == 2
    assert "correct the boxes" in text
