from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from loaded import loading
from PIL import Image
from pycocotools.coco import COCO

from segbench.data.coco import masks
from segbench.data.converters.coco import convert as unread
from segbench.data.dataset import id_to_rgb, rgb_to_id
from segbench.errors import SegbenchError

convert = loading(unread)

ENTRY = yaml.safe_load((Path(__file__).parents[3] / "config/datasets/coco2017.yaml").read_text())


def coco2017(archives, **changes):
    return convert({name: archives[name] for name in ENTRY["archives"]}, ENTRY["options"] | changes)


@pytest.mark.slow
def test_mirror(archives, write):
    dataset = write(coco2017(archives))
    info = dataset.info
    assert info.splits == {"train": 80, "val": 20}
    assert (info.tasks, info.derived) == (
        ["semantic", "detection", "instance", "panoptic"],
        ["semantic", "detection"],
    )
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
    dataset = write(coco2017(archives, panoptic=False))
    info = dataset.info
    assert (info.tasks, info.derived, info.background) == (
        ["semantic", "detection", "instance"],
        ["semantic", "detection"],
        True,
    )
    assert len(info.categories) == 80 and all(c.isthing for c in info.categories)
    assert info.categories[-1].name == "toothbrush"


def test_mirror_as_a_folder(archives, tmp_path: Path):
    """The files are found without the paths of the entry, and mean the same."""
    for name in ENTRY["archives"]:
        shutil.copytree(archives[name], tmp_path / name, copy_function=os.link)
    found = convert({}, {"folder": tmp_path, "panoptic": False})
    for one, other in zip(found.samples, coco2017(archives, panoptic=False).samples, strict=True):
        assert (one.split, one.stem, one.instances) == (other.split, other.stem, other.instances)
        assert one.image.samefile(other.image)
    assert len(convert({}, {"folder": tmp_path}).categories) == 133


def tiny(root: Path, save, category: int = 7, nested: bool = False, name: str = "1.jpg") -> dict[str, Path]:
    """One image per split: half sky (stuff, 40), half dog (thing, 7). Instance files do not list stuff."""
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
        ({"category": 41}, "instances_train2017.json: an annotation has category 41, which is not listed"),
        ({"name": "../../secret.jpg"}, "leads out of the"),
        ({"name": "2.jpg"}, r"2\.jpg: is missing"),
    ],
)
def test_faults(tmp_path: Path, save, change, message: str):
    with pytest.raises(SegbenchError, match=message):
        list(convert(tiny(tmp_path, save, **change), {}).samples)


def edit(root: Path, name: str, change: Callable[[dict[str, Any]], None]) -> Path:
    """Change the contents of a file of `tiny`."""
    path = root / f"{name.split('_')[0]}/annotations/{name}2017.json"
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))
    return path


KINDS = {"panoptic": {"panoptic": True}, "instances": {"panoptic": False}}
DOG, CAT, SKY = {"id": 7, "name": "dog"}, {"id": 9, "name": "cat"}, {"id": 40, "name": "sky", "isthing": 0}


def test_classes_go_by_name_where_ids_differ(tmp_path: Path, save, write, caplog):
    files = tiny(tmp_path, save)

    def swapped(content: dict[str, Any]) -> None:
        """The same truth, with ids 7 and 40 exchanged, and in another order."""
        for entry in content["categories"]:
            entry["id"] = 47 - entry["id"]
        content["categories"].reverse()
        for annotation in content["annotations"]:
            for entry in annotation.get("segments_info", [annotation]):
                entry["category_id"] = 47 - entry["category_id"]

    expected = write(convert(files, {}))
    truth = [expected.split(s).read_semantic("1") for s in ("train", "val")]
    assert not caplog.messages
    edit(tmp_path, "panoptic_train", swapped)
    edit(tmp_path, "instances_val", swapped)
    dataset = write(convert(files, {}), name="swapped")
    for split, labels in zip(("train", "val"), truth, strict=True):
        assert (dataset.split(split).read_semantic("1") == labels).all()
        (annotation,) = json.loads(dataset.split(split).instances_json.read_text())["annotations"]
        assert annotation["category_id"] == 1
    assert "panoptic_train2017.json: category ids differ" in caplog.text
    assert "by name: dog 40 (there 7), sky 7 (there 40)" in caplog.text
    assert "instances_val2017.json: category ids differ" in caplog.text


@pytest.mark.parametrize(
    ("kind", "name", "categories", "message"),
    [
        ("instances", "instances_train", [DOG, CAT], 'instances_train.*: lists category "cat", which .*val'),
        ("instances", "instances_val", [DOG, CAT], 'instances_val.*: lists category "cat", which .*train'),
        ("panoptic", "instances_train", [DOG, CAT], 'instances_train.*: lists category "cat", which .*pano'),
        ("panoptic", "panoptic_train", [DOG], 'panoptic_val2017.json: lists category "sky", which .*train'),
        ("panoptic", "panoptic_val", [DOG, DOG, SKY], 'category id 7 is listed twice: "dog" and "dog"'),
        ("panoptic", "panoptic_val", [DOG, {**DOG, "id": 8}], 'category "dog" is listed twice, .* 7 and 8'),
        ("instances", "instances_train", [{**DOG, "id": "7"}], '"7", not a whole number at categories.0.id'),
        ("instances", "instances_train", [{**DOG, "name": None}], "categories.0.name"),
    ],
)  # fmt: skip
def test_categories_that_differ(tmp_path: Path, save, kind, name, categories, message):
    files = tiny(tmp_path, save)
    edit(tmp_path, name, lambda content: content.update(categories=categories))
    with pytest.raises(SegbenchError, match=message) as caught:
        list(convert(files, KINDS[kind]).samples)
    assert caught.value.remedy


ONE = {"id": 1, "file_name": "1.jpg"}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("images", "message"),
    [
        ([ONE, {"id": 1, "file_name": "2.jpg"}], 'image id 1 is listed twice: "1.jpg" and "2.jpg"'),
        ([ONE, {"id": 2, "file_name": "1.jpg"}], 'image "1.jpg" is listed twice, with the ids 1 and 2'),
        ([{**ONE, "id": "1"}], '"1", not a whole number at images.0.id'),
        ([{**ONE, "id": 1.5}], "1.5, not a whole number at images.0.id"),
        ([{**ONE, "file_name": None}], "at images.0.file_name"),
    ],
)
def test_images_that_are_wrong(tmp_path: Path, save, kind, images, message):
    files = tiny(tmp_path, save)
    path = edit(tmp_path, f"{kind}_train", lambda content: content.update(images=images))
    with pytest.raises(SegbenchError, match=message) as caught:
        list(convert(files, KINDS[kind]).samples)
    assert caught.value.where == path and caught.value.remedy


@pytest.mark.parametrize("images", [[{**ONE, "file_name": "2.jpg"}], [{**ONE, "id": 2}]])
def test_ids_that_mean_another_image_in_the_instance_file(tmp_path: Path, save, images):
    files = tiny(tmp_path, save)
    edit(tmp_path, "instances_train", lambda content: content.update(images=images, annotations=[]))
    with pytest.raises(
        SegbenchError, match='panoptic_train2017.json: image id 1 is "1.jpg", in .*instances_train'
    ):
        list(convert(files, {}).samples)


@pytest.mark.parametrize("crowd", [None, 0, False, "missing"])
def test_absent_crowd_is_none(tmp_path: Path, save, write, crowd):
    files = tiny(tmp_path, save)

    def change(content: dict[str, Any]) -> None:
        content["annotations"][0]["iscrowd"] = crowd
        if crowd == "missing":
            del content["annotations"][0]["iscrowd"]

    edit(tmp_path, "instances_val", change)
    dataset = write(convert(files, {"panoptic": False}))
    (annotation,) = json.loads(dataset.split("val").instances_json.read_text())["annotations"]
    assert (annotation["iscrowd"], annotation["area"]) == (0, 32)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"iscrowd": "0"}, '"0", not 0 or 1 at annotations.0.iscrowd'),
        ({"area": "32"}, '"32", not a finite number at annotations.0.area'),
        ({"image_id": "1"}, '"1", not a whole number at annotations.0.image_id'),
        ({"segmentation": []}, r"1 of 1 objects have no outline, first annotation 5 of image 1 .*: \[\]\)"),
        ({"segmentation": None}, "1 of 1 objects have no outline"),
        ({"segmentation": [[1, 1, 5, 5]]}, "1 of 1 objects have no outline"),
    ],
)
def test_objects_that_are_wrong(tmp_path: Path, save, change, message):
    files = tiny(tmp_path, save)
    path = edit(tmp_path, "instances_train", lambda content: content["annotations"][0].update(change))
    with pytest.raises(SegbenchError, match=message) as caught:
        list(convert(files, {"panoptic": False}).samples)
    assert caught.value.where == path and caught.value.remedy


def test_sizes_that_differ(tmp_path: Path, save, write):
    """Images are 8 x 8, but the file states 16 wide and 24 high, and its object has that size."""
    files = tiny(tmp_path, save)
    outlines = [[[4, 6, 12, 6, 12, 18, 4, 18]], masks.encode(np.kron(np.eye(4), np.ones((6, 4))) > 0)]
    for split, outline in zip(("train", "val"), outlines, strict=True):
        drawn = {"segmentation": outline, "area": 96.0, "bbox": [4, 6, 8, 12], "iscrowd": 0}

        def change(content: dict[str, Any], drawn: dict[str, Any] = drawn) -> None:
            content["images"] = [{**ONE, "height": 24, "width": 16}]
            content["annotations"][0].update(drawn)

        edit(tmp_path, f"instances_{split}", change)
    with pytest.raises(
        SegbenchError,
        match=r"1.jpg: is 8x8 \(width x height\), .*instances_train2017.json states 16x24\n"
        r".*1.jpg: is 8x8 .*instances_val2017.json states 16x24\n.*scale",
    ):
        list(convert(files, {"panoptic": False}).samples)
    dataset = write(convert(files, {"panoptic": False, "scale": True}))
    found = [
        json.loads(dataset.split(s).instances_json.read_text())["annotations"][0] for s in ("train", "val")
    ]
    assert (found[0]["bbox"], found[0]["area"]) == ([2, 2, 4, 4], 16)
    expected = np.kron(np.eye(4), np.ones((2, 2))) > 0
    assert (masks.decode(found[1]["segmentation"]) == expected).all()


def test_sizes_of_turned_images(tmp_path: Path, save):
    files = tiny(tmp_path, save)
    Image.new("RGB", (8, 6)).save(files["train2017.zip"] / "train2017/1.jpg")
    images = [{**ONE, "height": 8, "width": 6}]
    edit(tmp_path, "panoptic_train", lambda content: content.update(images=images))
    with pytest.raises(
        SegbenchError, match="is 8x6 .*states 6x8, which fits an image that is turned by a right"
    ):
        list(convert(files, {}).samples)


def test_panoptic_maps_are_scaled(tmp_path: Path, save, write):
    files = tiny(tmp_path, save)
    maps = tmp_path / "panoptic/annotations/panoptic_val2017/1.png"
    ids = np.asarray(Image.open(maps))
    Image.fromarray(ids.repeat(3, 0).repeat(2, 1)).save(maps)
    with pytest.raises(SegbenchError, match="the panoptic mask has 16x24 pixels, the image has 8x8"):
        write(convert(files, {}), name="wrong")
    dataset = write(convert(files, {"scale": True}))
    written = np.asarray(Image.open(dataset.split("val").panoptic_folder / "1.png"))
    assert (rgb_to_id(written) == rgb_to_id(ids)).all()


def test_panoptic_annotations_that_are_missing_or_twice(tmp_path: Path, save, caplog):
    files = tiny(tmp_path, save)
    edit(tmp_path, "panoptic_train", lambda content: content["annotations"].append(content["annotations"][0]))
    with pytest.raises(SegbenchError, match="train2017.json: annotation of image id 1 is listed twice"):
        list(convert(files, {}).samples)
    edit(tmp_path, "panoptic_train", lambda content: content["annotations"].clear())
    assert [s.split for s in convert(files, {}).samples] == ["val"]
    assert "panoptic_train2017.json: 1 images without an annotation are skipped" in caplog.text
