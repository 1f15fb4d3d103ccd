"""COCO files in the layouts of annotation tools. Masks are compared with pycocotools."""

from __future__ import annotations

import json
from collections import defaultdict
from pathlib import Path, PureWindowsPath
from typing import Any

import numpy as np
import pytest
from loaded import loading
from pycocotools.coco import COCO

from segbench.data.coco import masks
from segbench.data.converters.coco import convert as unread
from segbench.data.dataset import Dataset, id_to_rgb
from segbench.errors import SegbenchError

convert = loading(unread)

H, W = 8, 12
LEFT, RIGHT = [1.0, 1.0, 5.0, 1.0, 5.0, 7.0, 1.0, 7.0], [6.5, 0.0, 11.0, 0.0, 6.5, 7.5]


def image(number: int, name: str) -> dict[str, Any]:
    return {"id": number, "file_name": name, "width": W, "height": H}


def polygon(number: int, image_id: int, category: int, *parts: list[float], **more: Any) -> dict[str, Any]:
    found = {"id": number, "image_id": image_id, "category_id": category, "segmentation": [*parts]}
    return found | {"iscrowd": 0} | more


def runs(mask: np.ndarray) -> dict[str, Any]:
    """Uncompressed run lengths, as CVAT and Datumaro write them."""
    flat = np.concatenate([[False], mask.T.ravel()])
    edges = np.append(np.flatnonzero(flat[1:] != flat[:-1]), mask.size)
    return {"size": list(mask.shape), "counts": np.diff(edges, prepend=0).tolist()}


def write_json(path: Path, images: list, annotations: list, categories: list, **more: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    content = {"info": {}, "licenses": [], "images": images, "annotations": annotations}
    path.write_text(json.dumps(content | {"categories": categories} | more), encoding="utf-8")
    return path


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """The folder of the user, apart from that of the datasets."""
    (tmp_path / "mine").mkdir()
    return tmp_path / "mine"


@pytest.fixture
def draw(save):
    """Write images with different pixels."""

    def run(folder: Path, *names: str) -> None:
        for name in names:
            save(folder / name, np.full((H, W, 3), len(name) * 7 % 250))

    return run


def truth(*paths: Path) -> dict[tuple[str, str], list[bytes]]:
    """(Image, class) -> masks, by pycocotools; objects without an outline are not among them."""
    found = defaultdict(list)
    for path in paths:
        coco = COCO(path)
        for a in coco.anns.values():
            if masks.has_outline(a["segmentation"]):
                name = PureWindowsPath(coco.imgs[a["image_id"]]["file_name"]).stem
                found[name, coco.cats[a["category_id"]]["name"]].append(coco.annToMask(a).tobytes())
    return {key: sorted(values) for key, values in found.items()}


def converted(dataset: Dataset) -> dict[tuple[str, str], list[bytes]]:
    return truth(*(dataset.split(s).instances_json for s in dataset.info.splits))


def areas(dataset: Dataset) -> list[float]:
    files = [dataset.split(s).instances_json for s in dataset.info.splits]
    return [a["area"] for file in files for a in json.loads(file.read_text())["annotations"]]


CELL = [{"id": 1, "name": "cell", "supercategory": ""}, {"id": 2, "name": "debris", "supercategory": ""}]


def test_cvat(root: Path, draw, write):
    """One file; images below `images/<subset>`; masks as uncompressed run lengths."""
    names = [f"plate/{n}.png" for n in range(8)]
    draw(root / "images/default", *names)
    mask = np.zeros((H, W), bool)
    mask[2:4, 3:9] = True
    crowd = {"segmentation": runs(mask), "iscrowd": 1, "area": 12.0, "bbox": [3.0, 2.0, 6.0, 2.0]}
    annotations = [polygon(1, 1, 1, LEFT, RIGHT, attributes={"occluded": False})]
    annotations += [polygon(n, n, 2) | crowd for n in range(2, 8)]
    listed = [
        image(n, name) | {"license": 0, "flickr_url": "", "date_captured": 0}
        for n, name in enumerate(names, 1)
    ]
    source = write_json(root / "annotations/instances_default.json", listed, annotations, CELL)
    dataset = write(convert({}, {"folder": root}))
    assert dataset.info.splits == {"test": 2, "train": 6} and dataset.info.evaluation_split == "test"
    assert converted(dataset) == truth(source)
    kept = [json.loads(dataset.split(s).instances_json.read_text())["annotations"] for s in ("train", "test")]
    assert sum(a["iscrowd"] for part in kept for a in part) == 6
    assert len(dataset.split("train")) + len(dataset.split("test")) == 8  # one has no object


def test_cvat_project_as_an_archive(root: Path, draw, write):
    """A file a subset, in a zip whose contents stand in one folder."""
    top = root / "extracted/project"
    for split in ("train", "validation"):
        draw(top / "images" / split, f"{split}.png")
        path = top / f"annotations/instances_{split}.json"
        write_json(path, [image(1, f"{split}.png")], [polygon(1, 1, 1, LEFT)], CELL)
    dataset = write(convert({"project.zip": root / "extracted"}, {}))
    assert dataset.info.splits == {"train": 1, "val": 1} and dataset.info.evaluation_split == "val"


@pytest.mark.parametrize("name", ["cells", "cell"])
def test_roboflow(root: Path, draw, write, caplog, name: str):
    """A file a folder. Category 0 is the parent of the classes, and may have the name of one of them."""
    caplog.set_level("INFO")
    categories = [
        {"id": 0, "name": name, "supercategory": "none"},
        {"id": 1, "name": "cell", "supercategory": name},
    ]
    sources = []
    for split in ("train", "valid", "test"):
        draw(root / split, f"{split}_jpg.rf.0a1b.png")
        box = {"bbox": [6.5, 0, 4.5, 7.5], "area": 33.75}  # the area of the box
        annotations = [polygon(0, 0, 1, RIGHT, **box), polygon(1, 0, 1, LEFT, bbox=[1, 1, 4, 6], area=24)]
        listed = [image(0, f"{split}_jpg.rf.0a1b.png") | {"license": 1, "date_captured": "2024-01-01"}]
        sources.append(write_json(root / split / "_annotations.coco.json", listed, annotations, categories))
    dataset = write(convert({}, {"folder": root}))
    assert dataset.info.splits == {"test": 1, "train": 1, "val": 1}
    assert (dataset.info.evaluation_split, dataset.info.validation_split) == ("test", "val")
    assert [(c.id, c.name) for c in dataset.info.categories] == [(1, "cell")]
    assert f"category 0 '{name}' is skipped: it has no object and is the parent" in caplog.text
    assert converted(dataset) == truth(*sources)
    triangle = int(COCO(sources[0]).annToMask({"image_id": 0, "segmentation": [RIGHT]}).sum())
    assert triangle < 25 and areas(dataset) == [triangle, 24] * 3


def test_a_parent_with_objects_stays(root: Path, draw, write):
    """It has none in the first file."""
    categories = [{"id": 0, "name": "cells"}, {"id": 1, "name": "cell", "supercategory": "cells"}]
    for split, category in (("train", 1), ("test", 0)):
        draw(root / split, f"{split}.png")
        path = root / split / "_annotations.coco.json"
        write_json(path, [image(0, f"{split}.png")], [polygon(0, 0, category, LEFT)], categories)
    dataset = write(convert({}, {"folder": root}))
    assert [c.name for c in dataset.info.categories] == ["cells", "cell"]


@pytest.mark.parametrize(
    "listed",
    [
        "images/{}",
        "images\\{}",
        "..\\..\\label-studio\\data\\media\\upload\\3\\{}",
        "http://localhost:8080/data/upload/3/{}",
        "/data/local-files/?d=scans/{}",
        "/home/anna/scans/{}",
        "{}",
    ],
)
@pytest.mark.parametrize("upload", ["", "1a2b3c4d-"])
def test_label_studio(root: Path, draw, write, listed: str, upload: str):
    """`result.json` beside `images`; ids count from 0. The user may have images without the prefix."""
    names = ["one.png", "two.png", "three.png", "four.png"]
    draw(root / "images", *names)
    images = [image(n, listed.format(upload + name)) for n, name in enumerate(names)]
    objects = [polygon(n, n, n % 2, LEFT, ignore=0, bbox=[1, 1, 4, 6], area=24.0) for n in range(4)]
    source = write_json(
        root / "result.json", images, objects, [{"id": 0, "name": "a"}, {"id": 1, "name": "b"}]
    )
    dataset = write(convert({}, {"folder": root}))
    assert [c.name for c in dataset.info.categories] == ["a", "b"]
    expected = {(name.removeprefix(upload), c): found for (name, c), found in truth(source).items()}
    if "?d=" not in listed:
        assert converted(dataset) == expected
    assert {key[0] for key in converted(dataset)} == {"one", "two", "three", "four"}


def test_vgg(root: Path, draw, write, caplog):
    """VIA writes the area of the box for all shapes, and `[]` for points. VIA 2.0 did not nest polygons."""
    draw(root, "a.png", "b.png")
    point = {"segmentation": [[]], "area": [], "bbox": [], "keypoints": [3, 3, 2], "num_keypoints": 1}
    nested = polygon(1, 1, 1, RIGHT, bbox=[6.5, 0, 4.5, 7.5], area=33.75)
    flat = nested | {"id": 2, "image_id": 2, "segmentation": RIGHT}
    images = [image(n, name) | {"coco_url": name} for n, name in ((1, "a.png"), (2, "b.png"))]
    categories = [{"supercategory": "type", "id": 1, "name": "leaf"}]
    path = root / "via_project_coco.json"
    write_json(path, images, [nested, flat, polygon(3, 1, 1) | point], categories)
    with pytest.raises(
        SegbenchError, match=r"1 of 3 objects have no outline, first annotation 3 .*\n.*boxes: skip"
    ):
        convert({}, {"folder": root})
    dataset = write(convert({}, {"folder": root, "boxes": "skip"}))
    assert "skipped 1 objects without an outline" in caplog.text
    expected = COCO(path).annToMask(nested)
    assert converted(dataset) == {(name, "leaf"): [expected.tobytes()] for name in "ab"}
    assert areas(dataset) == [expected.sum()] * 2


def test_datumaro_panoptic(root: Path, draw, save, write):
    """Instances and panoptic, the same image names in each split. Stuff is only in the panoptic truth."""
    categories = [{"id": 1, "name": "cell", "isthing": 1}, {"id": 2, "name": "agar", "isthing": 0}]
    ids = np.full((H, W), 700)
    ids[2:5, 2:6] = 5
    for value, split in enumerate(("train", "val")):
        save(root / f"images/{split}/1.png", np.full((H, W, 3), value))
        cell = polygon(1, 1, 1) | {"segmentation": runs(ids == 5)}
        agar = polygon(2, 1, 2) | {"segmentation": runs(ids == 700)}
        path = root / f"annotations/instances_{split}.json"
        write_json(path, [image(1, "1.png")], [cell, agar], categories)
        segments = [{"id": 700, "category_id": 2}, {"id": 5, "category_id": 1, "iscrowd": 0, "area": 12}]
        panoptic = {"image_id": 1, "file_name": "1.png", "segments_info": segments}
        path = write_json(
            path.with_name(f"panoptic_{split}.json"), [image(1, "1.png")], [panoptic], categories
        )
        save(path.with_suffix("") / "1.png", id_to_rgb(ids))
    dataset = write(convert({}, {"folder": root}))
    assert dataset.info.tasks == ["semantic", "detection", "instance", "panoptic"]
    assert not dataset.info.background
    assert (dataset.split("val").read_semantic("1") == np.where(ids == 5, 1, 2)).all()
    assert converted(dataset) == {("1", "cell"): [(ids == 5).astype(np.uint8).tobytes()] * 2}
    pixels = [dataset.split(s).read_image(dataset.split(s).images[0])[0, 0, 0] for s in ("train", "val")]
    assert pixels == [0, 1]
    alone = write(convert({}, {"folder": root, "panoptic": False}), name="instances")
    assert alone.info.tasks == ["semantic", "detection", "instance"] and len(alone.info.categories) == 2
    names = {split: f"annotations/panoptic_{split}.json" for split in ("train", "val")}
    maps = write(convert({}, {"folder": root, "panoptic": names}), name="maps")
    assert converted(maps) == converted(dataset)


def test_labelme2coco(root: Path, draw, write):
    """Files of two splits; paths from the folder of the annotator; rectangles have no outline."""
    sources = []
    for split in ("train", "val"):
        draw(root / "photos", f"{split}.png")
        rectangle = polygon(2, 1, 0) | {"bbox": [1, 1, 3, 3], "area": 9}
        objects = [polygon(1, 1, 0, LEFT, bbox=[1, 1, 4, 6], area=24), rectangle]
        listed = [image(1, f"../photos/{split}.png")]
        categories = [{"id": 0, "name": "nut", "supercategory": "nut"}]
        sources.append(write_json(root / f"export/{split}.json", listed, objects, categories))
    with pytest.raises(SegbenchError) as caught:
        convert({}, {"folder": root})
    assert str(caught.value).count("1 of 2 objects have no outline, first annotation 2 of image 1") == 2
    dataset = write(convert({}, {"folder": root, "boxes": "skip"}))
    assert converted(dataset) == truth(*sources)
    assert converted(dataset).keys() == {("train", "nut"), ("val", "nut")}


def test_background_of_labelme(mirror: Path, write, caplog):
    """labelme's own script lists the class `_background_`, without objects."""
    caplog.set_level("INFO")
    root = mirror / "labelme_voc3/data_dataset_coco"
    dataset = write(convert({}, {"folder": root, "test": ["2011_000006"]}))
    assert converted(dataset) == truth(root / "annotations.json")
    assert "_background_" not in [c.name for c in dataset.info.categories]
    assert "'_background_' is skipped: it has no object and is implicit" in caplog.text


def test_panopticapi(mirror: Path):
    """panopticapi's sample: panoptic truth, and the same as objects, of which those of stuff are not read."""
    options = {"folder": mirror / "panopticapi_sample/sample_data", "panoptic": "panoptic_examples.json"}
    (one, two), (other, _) = (
        list(convert({}, options | more).samples)
        for more in ({}, {"instances": "panoptic_coco_detection_format.json"})
    )
    assert {one.stem, two.stem} == {"000000142238", "000000439180"} and one.instances is None
    things = convert({}, options).categories
    segments = [s for s in other.panoptic[1] if things[s["category_id"] - 1].isthing]
    assert sorted(o["area"] for o in other.instances) == sorted(
        int((other.panoptic[0] == s["id"]).sum()) for s in segments
    )
