from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from pycocotools.coco import COCO

from segbench.data import masks
from segbench.data.converters.coco import convert
from segbench.data.dataset import id_to_rgb, rgb_to_id
from segbench.errors import SegbenchError


@pytest.mark.slow
def test_mirror(archives, write):
    dataset = write(convert(archives, {}))
    info = dataset.info
    assert info.splits == {"train": 80, "val": 20}
    assert (info.tasks, info.derived) == (["semantic", "instance", "panoptic"], ["semantic"])
    assert (info.evaluation_split, info.validation_split, info.background) == ("val", None, False)
    assert len(info.categories) == 133
    assert (info.categories[11].name, info.categories[-1].name) == ("stop sign", "rug-merged")  # 13, 200
    panoptic = archives["panoptic_annotations_trainval2017.zip"] / "annotations"
    crowds = 0
    for name in info.splits:
        split = dataset.split(name)
        source = json.loads((panoptic / f"panoptic_{name}2017.json").read_text())
        name_of = {c["id"]: c["name"] for c in source["categories"]}
        by_file = {a["file_name"]: a["segments_info"] for a in source["annotations"]}
        written = json.loads(split.panoptic_json.read_text())
        coco = COCO(split.instances_json)
        for record, annotation in zip(split, written["annotations"], strict=True):
            assert (record.id, f"{record.stem}.png") == (annotation["image_id"], annotation["file_name"])
            segments = annotation["segments_info"]
            for segment, stated in zip(segments, by_file[annotation["file_name"]], strict=True):
                assert info.categories[segment["category_id"] - 1].name == name_of[stated["category_id"]]
                assert {k: segment[k] for k in ("id", "area", "bbox", "iscrowd")} == {
                    k: stated[k] for k in ("id", "area", "bbox", "iscrowd")
                }
            ids = rgb_to_id(np.asarray(Image.open(split.panoptic_folder / annotation["file_name"])))
            semantic = split.read_semantic(record.stem)
            for segment in segments:
                assert (semantic[ids == segment["id"]] == segment["category_id"]).all()
            assert (semantic[ids == 0] == -1).all()
            crowds += sum(s["iscrowd"] for s in segments)
        source = json.loads(
            (archives["annotations_trainval2017.zip"] / f"annotations/instances_{name}2017.json").read_text()
        )
        stated = sorted((a["area"], a["iscrowd"]) for a in source["annotations"])
        assert stated == sorted((a["area"], a["iscrowd"]) for a in coco.loadAnns(coco.getAnnIds()))
    assert crowds == 6


def test_mirror_instances_alone(archives, write):
    dataset = write(convert(archives, {"panoptic": False}))
    info = dataset.info
    assert (info.tasks, info.derived, info.background) == (["semantic", "instance"], ["semantic"], True)
    assert len(info.categories) == 80 and all(c.isthing for c in info.categories)
    assert info.categories[-1].name == "toothbrush"


def tiny(root: Path, save, category: int = 7, nested: bool = False, name: str = "1.jpg") -> dict[str, Path]:
    """One image a split: half sky (stuff, 40), half dog (thing, 7); the instance files know no stuff."""
    panoptic, instances = root / "panoptic/annotations", root / "instances/annotations"
    panoptic.mkdir(parents=True)
    instances.mkdir(parents=True)
    ids = np.repeat([[1000]] * 4 + [[2]] * 4, 8, axis=1)
    dog = {"id": 7, "name": "dog", "isthing": 1}
    for split in ("train", "val"):
        save(root / f"images/{split}2017/1.jpg")
        folder = panoptic / f"panoptic_{split}2017"
        save((folder / folder.name if nested else folder) / "1.png", id_to_rgb(ids))
        images = [{"id": 1, "file_name": name}]
        segments = [{"id": 1000, "category_id": 40, "iscrowd": 0}, {"id": 2, "category_id": 7, "iscrowd": 0}]
        annotation = {"image_id": 1, "file_name": "1.png", "segments_info": segments}
        categories = [{"id": 40, "name": "sky", "isthing": 0, "color": [1, 2, 3]}, dog]
        content = {"images": images, "annotations": [annotation], "categories": categories}
        (panoptic / f"panoptic_{split}2017.json").write_text(json.dumps(content))
        mask = masks.encode(ids == 2)
        annotation = {"id": 5, "image_id": 1, "category_id": category, "segmentation": mask, "iscrowd": 1}
        content = {"images": images, "annotations": [annotation], "categories": [dog]}
        (instances / f"instances_{split}2017.json").write_text(json.dumps(content))
    return {
        "train2017.zip": root / "images",
        "val2017.zip": root / "images",
        "panoptic_annotations_trainval2017.zip": root / "panoptic",
        "annotations_trainval2017.zip": root / "instances",
    }


@pytest.mark.parametrize("nested", [False, True])
def test_classes_count_from_one_and_crowds_stay(tmp_path: Path, save, write, nested: bool):
    dataset = write(convert(tiny(tmp_path, save, nested=nested), {}))
    dog, sky = dataset.info.categories
    assert (dog.id, dog.name, dog.isthing) == (1, "dog", True)
    assert (sky.id, sky.name, sky.isthing, sky.color) == (2, "sky", False, (1, 2, 3))
    assert (dataset.split("val").read_semantic("1")[:, 0] == [2] * 4 + [1] * 4).all()
    (annotation,) = json.loads(dataset.split("val").instances_json.read_text())["annotations"]
    assert (annotation["category_id"], annotation["iscrowd"], annotation["area"]) == (1, 1, 32)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"category": 41}, "instances_train2017.json: an annotation has category 41, not in the list"),
        ({"name": "../../secret.jpg"}, "leads out of the"),
        ({"name": "2.jpg"}, r"2\.jpg: is missing"),
    ],
)
def test_faults(tmp_path: Path, save, change, message: str):
    with pytest.raises(SegbenchError, match=message):
        list(convert(tiny(tmp_path, save, **change), {}).samples)
