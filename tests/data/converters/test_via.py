from __future__ import annotations

import json
import math
from pathlib import Path

import pytest

from segbench.data import masks
from segbench.data.converters.via import convert
from segbench.errors import SegbenchError

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
    converted = convert({"balloon.zip": tmp_path}, {"labels": ["balloon"]})
    assert [c.name for c in converted.categories] == ["balloon"] and converted.evaluation_split == "val"
    samples = list(converted.samples)
    assert [(s.split, s.stem, len(s.instances)) for s in samples] == [("train", "a", 2), ("val", "a", 2)]
    assert samples[0].instances[1]["segmentation"] == [[1, 2, 5, 2, 5, 5, 1, 5]]


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
        (BOX, {"labels": ["a", "b"]}, "options.attribute: 2 labels"),
    ],
)
def test_faults_are_named(tmp_path: Path, save, write, shape: dict, options: dict, message: str):
    save(tmp_path / "a.jpg")
    save_json(tmp_path, entry("a.jpg", region(shape, kind="nut")))
    with pytest.raises(SegbenchError, match=message):
        write(convert({"a.zip": tmp_path}, options))


def test_images_stay_inside(tmp_path: Path):
    save_json(tmp_path / "in", entry("../../a.jpg", region(BOX)))
    with pytest.raises(SegbenchError, match="is no file inside of"):
        convert({"a.zip": tmp_path / "in"}, {})
