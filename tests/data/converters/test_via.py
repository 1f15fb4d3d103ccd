from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from segbench.data.coco import masks
from segbench.data.converters.via import convert
from segbench.errors import SegbenchError

BACK = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_90,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_270,
}
"""How a camera stores an upright image, by EXIF orientation."""
BOX = {"name": "rect", "x": 1, "y": 2, "width": 4, "height": 3}
TRIANGLE = {"name": "polygon", "all_points_x": [0, 6, 0], "all_points_y": [0, 0, 6]}


def region(shape: dict, **attributes: object) -> dict:
    return {"shape_attributes": shape, "region_attributes": attributes}


def entry(name: str, *regions: dict) -> dict:
    return {f"{name}123": {"filename": name, "size": 123, "regions": list(regions), "file_attributes": {}}}


def save_json(folder: Path, content: object) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "via.json").write_text(json.dumps(content))


def areas(folder: Path, options: dict | None = None, size: int = 40) -> list[int]:
    samples = convert({"a.zip": folder}, options or {}).samples
    found = [o["segmentation"] for s in samples for o in s.instances]
    return [masks.area(masks.to_rle(masks.standardise(f, size, size), size, size)) for f in found]


def test_a_folder_of_balloons(tmp_path: Path, save):
    for split in ("train", "val"):
        save(tmp_path / split / "a.jpg")
        save_json(tmp_path / split, entry("a.jpg", region(TRIANGLE), region(BOX)))
    converted = convert({"balloon.zip": tmp_path}, {"labels": ["balloon"], "group": "."})
    assert [c.name for c in converted.categories] == ["balloon"] and converted.evaluation_split == "val"
    samples = list(converted.samples)
    assert [(s.split, s.stem, len(s.instances)) for s in samples] == [("train", "a", 2), ("val", "a", 2)]
    assert samples[0].instances[1]["segmentation"] == [[1, 2, 5, 2, 5, 5, 1, 5]]
    assert [s.group for s in samples] == ["a", "a"] and converted.division == "given"


def test_shapes_have_their_areas(tmp_path: Path, save):
    save(tmp_path / "a.jpg")
    circle = {"name": "circle", "cx": 20, "cy": 20, "r": 10}
    ellipse = {"name": "ellipse", "cx": 20, "cy": 20, "rx": 12, "ry": 5, "theta": 0.7}
    point = {"name": "point", "cx": 3, "cy": 3}
    save_json(tmp_path, entry("a.jpg", *map(region, (BOX, circle, ellipse, point))))
    expected = [12, math.pi * 100, math.pi * 60]
    assert areas(tmp_path) == pytest.approx(expected, rel=0.06)


@pytest.mark.parametrize("version", [1, 2])
def test_projects_and_older_exports(tmp_path: Path, save, version: int):
    save(tmp_path / "a.jpg")
    listed = entry("a.jpg", region(BOX, kind="nut"), region(TRIANGLE, kind="fig"))
    if version == 1:
        listed["a.jpg123"]["regions"] = dict(enumerate(listed["a.jpg123"]["regions"]))
    save_json(tmp_path, listed if version == 1 else {"_via_settings": {}, "_via_img_metadata": listed})
    converted = convert({"a.zip": tmp_path}, {"attribute": "kind"})
    assert [c.name for c in converted.categories] == ["fig", "nut"]
    (sample,) = converted.samples
    assert [o["category_id"] for o in sample.instances] == [2, 1] and sample.split == "test"


@pytest.mark.parametrize(
    ("shape", "options", "message"),
    [
        ({"name": "rect", "x": 1}, {}, r"via\.json: region 1 of a\.jpg: lacks 'y'"),
        ({**TRIANGLE, "all_points_x": [1]}, {}, "region 1 of a.jpg: a polygon of 1 x and 3 y"),
        (BOX, {"attribute": "type"}, r"has no label as 'type' \(has: kind\)"),
        (
            BOX,
            {"attribute": "kind", "labels": ["nuts"]},
            "label 'nut' is not in.*\n.*did you mean 'nuts'",
        ),
        (BOX, {"labels": ["a", "b"]}, "options.attribute: is not set, but there are 2 labels"),
    ],
)
def test_faults_are_named(tmp_path: Path, save, write, shape: dict, options: dict, message: str):
    save(tmp_path / "a.jpg")
    save_json(tmp_path, entry("a.jpg", region(shape, kind="nut")))
    with pytest.raises(SegbenchError, match=message):
        write(convert({"a.zip": tmp_path}, options))


def test_images_stay_inside(tmp_path: Path):
    save_json(tmp_path / "in", entry("../../a.jpg", region(BOX)))
    with pytest.raises(SegbenchError, match="is not a file inside of"):
        convert({"a.zip": tmp_path / "in"}, {})


@pytest.mark.parametrize("orientation", range(1, 9))
def test_photographs_are_stored_upright(tmp_path: Path, write, orientation: int):
    """VIA outlines are drawn on the image as browsers show it: here, the bright corner of a 16 x 12 image."""
    bright = np.zeros((12, 16), np.uint8)
    bright[1:4, 2:9] = 200
    shown = Image.fromarray(bright)
    exif = Image.Exif()
    exif[0x0112] = orientation
    rect = {"name": "rect", "x": 2, "y": 1, "width": 7, "height": 3}
    folder = tmp_path / "own"
    folder.mkdir()
    for name in "ab":
        stored = shown if orientation == 1 else shown.transpose(BACK[orientation])
        stored.save(folder / f"{name}.png", exif=exif)
    save_json(folder, entry("a.png", region(rect)) | entry("b.png", region(rect)))
    split = write(convert({}, {"folder": folder})).split("train")
    (record,) = split.images
    assert (split.read_image(record)[:, :, 0] == bright).all()
    assert ((split.read_semantic(record.stem) == 1) == (bright > 0)).all()


def test_all_files_with_faults_are_listed(tmp_path: Path, save, write):
    for name in "abc":
        save(tmp_path / f"{name}.jpg")
    listed = entry("a.jpg", region({**BOX, "x": 100}), region({**BOX, "y": 9}))
    listed |= entry("b.jpg", region(BOX)) | entry("c.jpg", region({**BOX, "x": -5}))
    save_json(tmp_path, listed)
    with pytest.raises(SegbenchError, match="2 errors") as error:
        write(convert({}, {"folder": tmp_path, "test": ["b"]}))
    lines = str(error.value).splitlines()
    assert "a.jpg" in lines[1] and "coordinate 100.0 lies far outside" in lines[1]
    assert "c.jpg" in lines[2] and "outside of the image (8x8 pixels): object 1" in lines[2]


def test_missing_images_are_listed(tmp_path: Path, save):
    save_json(tmp_path, entry("x.jpg", region(BOX)) | entry("y.jpg", region(BOX)))
    with pytest.raises(
        SegbenchError, match=r"2 errors[\s\S]*'x.jpg' is not a file[\s\S]*'y.jpg' is not a file"
    ):
        convert({}, {"folder": tmp_path})


@pytest.mark.parametrize("name", ["..\\images\\a.jpg", "C:\\photos\\a.jpg", "/home/x/a.jpg", "A.JPG"])
def test_the_image_of_that_name_beside_the_file(tmp_path: Path, save, name: str):
    save(tmp_path / "own" / "a.jpg")
    save(tmp_path / "a.jpg")
    save_json(tmp_path / "own", entry(name, region(BOX)))
    (sample,) = convert({}, {"folder": tmp_path / "own"}).samples
    assert sample.image == tmp_path / "own" / "a.jpg"


def test_encodings_and_unlisted_images(tmp_path: Path, save, caplog):
    save(tmp_path / "a.jpg")
    save(tmp_path / "b.jpg")
    text = json.dumps(entry("a.jpg", region(BOX, kind="核")), ensure_ascii=False)
    (tmp_path / "via.json").write_text(text, encoding="utf-8-sig")
    converted = convert({}, {"folder": tmp_path, "attribute": "kind"})
    assert [c.name for c in converted.categories] == ["核"]
    assert "skipped 1 images without an annotation, such as b.jpg" in caplog.text
    (tmp_path / "via.json").write_text(text, encoding="gbk")
    with pytest.raises(SegbenchError, match="is not text in UTF-8, perhaps gbk"):
        convert({}, {"folder": tmp_path, "attribute": "kind"})
    options = {"folder": tmp_path, "attribute": "kind", "encoding": "gbk", "unannotated": "empty"}
    assert [len(s.instances) for s in convert({}, options).samples] == [1, 0]


def test_an_image_listed_in_two_files(tmp_path: Path, save):
    save(tmp_path / "a.jpg")
    save_json(tmp_path, entry("a.jpg", region(BOX)))
    (tmp_path / "project.json").write_text(json.dumps({"_via_img_metadata": entry("a.jpg", region(BOX))}))
    with pytest.raises(SegbenchError, match=r"via\.json: lists the image 'a.jpg' .*project\.json also lists"):
        convert({}, {"folder": tmp_path})


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (3, r"region 1 of a.jpg has the label 3 \(a number\)"),
        ({"nut": True}, r"has the label \{'nut': True\} \(an object\)"),
        ("", "has an empty label"),
    ],
)
def test_labels_that_are_no_names(tmp_path: Path, save, value: object, message: str):
    save(tmp_path / "a.jpg")
    save_json(tmp_path, entry("a.jpg", region(BOX, kind=value)))
    with pytest.raises(SegbenchError, match=message):
        convert({}, {"folder": tmp_path, "attribute": "kind"})


@pytest.mark.parametrize(
    ("shape", "message"),
    [
        ({**TRIANGLE, "all_points_x": [], "all_points_y": []}, "a polygon of 0 x and 0 y"),
        ({**TRIANGLE, "all_points_x": [1, 2], "all_points_y": [1, 2]}, "a polygon of 2 x and 2 y"),
        ({**BOX, "x": None}, "None is null, not a number"),
        ({**BOX, "x": "left"}, "'left' is text, not a number"),
        ({**BOX, "x": "nan"}, "polygon coordinate nan is not a finite number"),
        ({"name": "star"}, "regions of type 'star' are not known"),
        ({}, "lacks 'name'"),
    ],
)
def test_malformed_regions(tmp_path: Path, save, write, shape: dict, message: str):
    save(tmp_path / "a.jpg")
    save_json(tmp_path, entry("a.jpg", region(shape)))
    with pytest.raises(SegbenchError, match=message):
        write(convert({}, {"folder": tmp_path}))


def test_numbers_as_text(tmp_path: Path, save):
    save(tmp_path / "a.jpg")
    save_json(tmp_path, entry("a.jpg", region({k: str(v) for k, v in BOX.items()})))
    assert areas(tmp_path) == [12]
