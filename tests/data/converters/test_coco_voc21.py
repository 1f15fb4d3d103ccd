from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from loaded import loading
from pycocotools import mask as coco

from segbench.data.converters.coco_voc21 import convert as unread
from segbench.errors import SegbenchError

convert = loading(unread)

# torchvision's CAT_LIST: the position is VOC's number, the value is COCO's category id
CAT_LIST = [0, 5, 2, 16, 9, 44, 6, 3, 17, 62, 21, 67, 18, 19, 4, 1, 64, 20, 63, 7, 72]


def as_rle(segmentation: Any, height: int, width: int) -> Any:
    if isinstance(segmentation, list):
        return coco.merge(coco.frPyObjects(segmentation, height, width))
    packed = isinstance(segmentation["counts"], str)
    return segmentation if packed else coco.frPyObjects(segmentation, height, width)


def reference(objects: list[dict[str, Any]], height: int, width: int) -> np.ndarray:
    """The target of torchvision's references/segmentation, -1 for its 255."""
    target, times = np.zeros((height, width), int), np.zeros((height, width), int)
    for one in objects:
        if one["category_id"] in CAT_LIST:
            mask = coco.decode(as_rle(one["segmentation"], height, width))
            target = np.maximum(target, mask * CAT_LIST.index(one["category_id"]))
            times += mask
    target[times > 1] = -1
    return target


@pytest.mark.slow
def test_mirror_is_as_torchvision_makes_it(archives):
    content = {
        split: json.loads(
            (archives["annotations_trainval2017.zip"] / f"annotations/instances_{split}2017.json").read_text()
        )
        for split in ("train", "val")
    }
    by_file = {i["file_name"]: i for source in content.values() for i in source["images"]}
    voids = 0
    found = []
    for sample in convert(archives, {}).samples:
        entry = by_file[sample.image.name]
        objects = [a for a in content[sample.split]["annotations"] if a["image_id"] == entry["id"]]
        assert (sample.semantic == reference(objects, entry["height"], entry["width"])).all()
        voids += (sample.semantic == -1).sum()
        found.append((sample.split, entry["id"]))
    wanted = [("val", i["id"]) for i in content["val"]["images"]]
    for entry in content["train"]["images"]:
        areas = [
            a["area"]
            for a in content["train"]["annotations"]
            if a["image_id"] == entry["id"] and a["category_id"] in CAT_LIST
        ]
        if sum(areas) > 1000:
            wanted.append(("train", entry["id"]))
    assert sorted(found) == sorted(wanted) and len(wanted) < 100 and voids


@pytest.fixture
def source(tmp_path: Path, save):
    """One image with one dog; `category`, `image` and `annotation` change parts of the file."""

    def run(categories: list[str], image: dict[str, Any], annotation: dict[str, Any]) -> dict[str, Path]:
        save(tmp_path / "train2017.zip/train2017/a.jpg")
        content = {
            "images": [{"id": 1, "file_name": "a.jpg"} | image],
            "annotations": [
                {
                    "id": 3,
                    "image_id": 1,
                    "category_id": 18,
                    "area": 2000,
                    "segmentation": [[0, 0, 8, 0, 8, 8]],
                    **annotation,
                }
            ],
            "categories": [{"id": k, "name": name} for k, name in zip(CAT_LIST[1:], categories)],
        }
        path = tmp_path / "annotations_trainval2017.zip/annotations/instances_train2017.json"
        path.parent.mkdir(parents=True)
        path.write_text(json.dumps(content))
        return {p.name: p for p in tmp_path.iterdir()}

    return run


NAMES = [
    "airplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair", "cow", "dining table",
    "dog", "horse", "motorcycle", "person", "potted plant", "sheep", "couch", "train", "tv",
]  # fmt: skip


@pytest.mark.parametrize(
    ("names", "image", "annotation", "message"),
    [
        (NAMES[:-1], {}, {}, "instances_train2017.json: has no category for VOC's tvmonitor"),
        (
            NAMES,
            {"width": 9},
            {},
            r"a\.jpg: is 8x8 \(width x height\), .*instances_train2017.json state.*9x8",
        ),
        (NAMES, {}, {"segmentation": [[0, 0, 1e9, 0, 8, 8]]}, "annotation 3: polygon coordinate 1000000000"),
        (NAMES, {"file_name": "../../b.jpg"}, {}, "leads out of the dataset's folder"),
    ],
)
def test_mistakes_are_named(source, write, names, image, annotation, message: str):
    with pytest.raises(SegbenchError, match=message):
        write(convert(source(names, image, annotation), {}))
