from __future__ import annotations

import json
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from segbench.cli import app
from segbench.contract.columns import Columns
from segbench.contract.view import Category
from segbench.data.cases import Slice
from segbench.data.columns import values_of_images
from segbench.data.dataset import Converted, Dataset, Sample
from segbench.data.writing.writer import write_dataset
from segbench.errors import SegbenchError

IMAGES = (("train", "a"), ("train", "b"), ("test", "a"), ("test", "site1_c"))


def dataset(folder: Path, images: tuple = IMAGES, slices: bool = False) -> Dataset:
    def sample(number: int, split: str, stem: str) -> Sample:
        array = np.full((4, 4), number, np.uint8)
        place = Slice(case=stem[:1], index=int(stem[1:]), slices=2, spacing=(1, 1, 1)) if slices else None
        return Sample(split, stem, array, semantic=np.ones((4, 4), int), slice=place)

    classes = [Category(id=1, name="a", isthing=False, color=(1, 0, 0))]
    samples = [sample(number, *image) for number, image in enumerate(images)]
    converted = Converted(classes, True, "test", samples, orientation="stored")
    texts = {"name": "own", "title": "Own", "licence": "", "citation": ""}
    write_dataset(converted, folder / "data", **texts, archives={}, channels=1)
    return Dataset(folder / "data")


def columns(folder: Path, *lines: str, **more: object) -> Columns:
    (folder / "cases.csv").write_text("\n".join(lines))
    return Columns.model_validate({"file": folder / "cases.csv", "columns": ["scanner", "site"], **more})


def test_each_image_has_its_row(tmp_path: Path) -> None:
    lines = [
        "scanner,image,site,age",
        "A,images/train/a.PNG,x,3",
        "B,test\\a.tif, y ,4",
        ",b,z,5",
        "C,site1/c,,6",
    ]
    assert values_of_images(dataset(tmp_path), columns(tmp_path, *lines)) == {
        ("train", "a"): ["A", "x"],
        ("test", "a"): ["B", "y"],
        ("train", "b"): ["", "z"],
        ("test", "site1_c"): ["C", ""],
    }


def test_images_without_a_row_have_no_value_and_one_row_may_be_for_both_splits(tmp_path: Path) -> None:
    spec = columns(tmp_path, "file;scanner;site", "a.png;A;x", "a.png;A;x", image="file")
    found = values_of_images(dataset(tmp_path), spec)
    assert found["train", "a"] == found["test", "a"] == ["A", "x"]
    assert found["train", "b"] == found["test", "site1_c"] == ["", ""]


def test_a_whole_name_goes_before_the_end_of_a_path(tmp_path: Path) -> None:
    data = dataset(tmp_path, (("train", "x_a"), ("train", "a"), ("test", "t")))
    found = values_of_images(data, columns(tmp_path, "image,scanner,site", "x/a.png,A,1", "a.png,B,2"))
    assert found["train", "x_a"] == ["A", "1"] and found["train", "a"] == ["B", "2"]


def test_a_case_gives_its_slices_their_values(tmp_path: Path) -> None:
    images = (("train", "p0"), ("train", "p1"), ("test", "q0"), ("test", "q1"))
    data = dataset(tmp_path, images, slices=True)
    found = values_of_images(data, columns(tmp_path, "image,scanner,site", "q,A,x", "p,B,y"))
    assert found["test", "q0"] == found["test", "q1"] == ["A", "x"] and found["train", "p1"] == ["B", "y"]


def test_all_mistakes_are_listed(tmp_path: Path) -> None:
    lines = ["image,scanner,site", "b,A,x", "b.png,B,x", "zz.png,A,x", "yy,A,x", ",A,x"]
    with pytest.raises(SegbenchError) as error:
        values_of_images(dataset(tmp_path), columns(tmp_path, *lines))
    text = str(error.value)
    for part in (
        "cases.csv: has several rows with other values for train/b (lines 2, 3)",
        "names images that the dataset does not have: zz.png (line 4), yy (line 5), a row without",
        "correct or remove these rows; the column 'image' has names such as a",
    ):
        assert part in text
    with pytest.raises(SegbenchError) as error:
        values_of_images(dataset(tmp_path), columns(tmp_path, "images,scaner,site", "b,A,x"))
    for part in ("no column 'image', 'scanner' (has: images, scaner, site)", "mean 'images', 'scaner'?"):
        assert part in str(error.value)


def own_folder(kind: str, root: Path) -> dict[str, Any]:
    """Write eight images in two folders, with squares, as a tool would; return the converter's options."""
    names = [f"site{k % 2}/p{k}" for k in range(8)]
    coco: dict[str, Any] = {"images": [], "annotations": [], "categories": [{"id": 1, "name": "square"}]}
    via: dict[str, Any] = {}
    corners = [[1, 1], [5, 1], [5, 5], [1, 5]]
    for number, name in enumerate(names, 1):
        image = root / ("images" if kind in ("pairs", "yolo") else "") / f"{name}.png"
        image.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.full((8, 8, 3), 20 * number, np.uint8)).save(image)
        if kind == "pairs":
            mask = np.zeros((8, 8), np.uint8)
            mask[1:5, 1:5] = 1
            (root / "masks" / name).parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(mask).save(root / f"masks/{name}.png")
        elif kind == "labelme":
            shape = {"label": "square", "points": corners, "shape_type": "polygon", "group_id": None}
            content = {"shapes": [shape], "imagePath": image.name, "imageData": None}
            image.with_suffix(".json").write_text(json.dumps(content))
        elif kind == "yolo":
            label = root / f"labels/{name}.txt"
            label.parent.mkdir(parents=True, exist_ok=True)
            label.write_text("0 " + " ".join(f"{x / 8} {y / 8}" for x, y in corners))
        elif kind == "voc_xml":
            box = "<bndbox><xmin>2</xmin><ymin>2</ymin><xmax>5</xmax><ymax>5</ymax></bndbox>"
            image.with_suffix(".xml").write_text(
                f"<annotation><filename>{image.name}</filename><size><width>8</width><height>8</height>"
                f"<depth>3</depth></size><object><name>square</name>{box}</object></annotation>"
            )
        elif kind == "via":
            xs, ys = zip(*corners)
            outline = {"name": "polygon", "all_points_x": xs, "all_points_y": ys}
            region = {"shape_attributes": outline, "region_attributes": {}}
            via[f"{name}.png1"] = {"filename": f"{name}.png", "size": 1, "regions": [region]}
        else:
            coco["images"].append({"id": number, "file_name": f"{name}.png", "width": 8, "height": 8})
            outline = [[v for corner in corners for v in corner]]
            coco["annotations"].append(
                {"id": number, "image_id": number, "category_id": 1, "iscrowd": 0, "area": 16}
                | {"bbox": [1, 1, 4, 4], "segmentation": outline}
            )
    if kind == "coco":
        (root / "all.json").write_text(json.dumps(coco))
    if kind == "via":
        (root / "via.json").write_text(json.dumps(via))
    if kind == "yolo":
        (root / "data.yaml").write_text("train: images\nnames: [square]\n")
    rows = [f"{name}.png,s{k // 2},{'AB'[k % 2]}" for k, name in enumerate(names)]
    (root / "cases.csv").write_text("\n".join(["image,patient,scanner", *rows]))
    patterns = {"image": "images/{site}/{name}.png", "mask": "masks/{site}/{name}.png"}
    own = patterns | {"classes": ["background", "square"]} if kind == "pairs" else {}
    return {"folder": str(root), **own}


@pytest.mark.parametrize("kind", ["pairs", "labelme", "yolo", "coco", "via", "voc_xml"])
def test_every_annotated_folder_that_has_groups_has_columns(kind: str, tmp_path: Path) -> None:
    options = own_folder(kind, tmp_path / "own") | {
        "group": {"file": "cases.csv", "column": "patient"},
        "metadata": {"file": "cases.csv", "columns": ["scanner"]},
    }
    convert = import_module(f"segbench.data.converters.{kind}").convert
    texts = {"name": "own", "title": "Own", "licence": "", "citation": ""}
    write_dataset(convert({}, options), tmp_path / "data", **texts, archives={}, channels=3)
    data = Dataset(tmp_path / "data")
    spec = Columns(file=tmp_path / "own/cases.csv", columns=["scanner", "patient"])
    found = values_of_images(data, spec)
    assert len(found) == 8
    for (split, name), (scanner, patient) in found.items():
        number = int(name[-1])
        assert (scanner, patient) == ("AB"[number % 2], f"s{number // 2}")
        assert data.split(split).groups()[name] == patient, "the file is that in the folder"


def test_the_check_of_a_dataset_stops_at_a_file_that_does_not_fit(tmp_path: Path) -> None:
    dataset(tmp_path)
    spec = columns(tmp_path, "image,scanner,site", "zz,A,x").model_dump_json()
    command = ["lint", str(tmp_path / "data"), "--out", str(tmp_path / "data/lint.json"), "--metadata", spec]
    result = CliRunner().invoke(app, command)
    assert result.exit_code == 1 and not (tmp_path / "data/lint.json").exists()
    state = json.loads((tmp_path / "data/state.json").read_text())
    assert "zz (line 2)" in state["reason"] and state["state"] == "failed"
