"""Predictions of other programs that cannot be scored: what the message says."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from segbench.contract.external import ExternalSpec
from segbench.contract.view import Category
from segbench.data.dataset import Converted, Dataset, Sample
from segbench.errors import SegbenchError
from segbench.exchange.predictions.files import files_of
from segbench.exchange.predictions.read import read_predictions
from segbench.files import write_json


def fault(data: Path, path: Path, format: str, task: str, **more: Any) -> str:
    spec = ExternalSpec.model_validate({"path": path, "format": format, "task": task, **more})
    out = path.parent / "out"
    with pytest.raises(SegbenchError) as raised:
        read_predictions(data, spec, out)
    assert not out.exists()
    return str(raised.value)


@pytest.fixture
def maps(shapes: Path, tmp_path: Path) -> Path:
    folder = tmp_path / "maps"
    shutil.copytree(Dataset(shapes).split("test").root / "semantic", folder)
    return folder


def test_a_missing_image(shapes: Path, maps: Path) -> None:
    (maps / "03.png").unlink()
    message = fault(shapes, maps, "label_maps", "semantic")
    assert "nothing for image 03" in message and "missing: empty" in message


def test_an_image_of_another_split(shapes: Path, maps: Path) -> None:
    shutil.copy(maps / "03.png", maps / "07.png")
    assert "image 07 is not in the split test" in fault(shapes, maps, "label_maps", "semantic")


def test_predictions_of_other_images(shapes: Path, maps: Path) -> None:
    for path in list(maps.iterdir()):
        path.rename(maps / f"x{path.name}")
    assert "no prediction of the images of the split test" in fault(
        shapes, maps, "label_maps", "semantic", missing="empty"
    )


def test_another_size(shapes: Path, maps: Path) -> None:
    Image.new("L", (20, 20), 1).save(maps / "03.png")
    assert "is 20x20 (width x height)" in fault(shapes, maps, "label_maps", "semantic")


def test_a_value_that_is_no_class(shapes: Path, maps: Path) -> None:
    labels = np.array(Image.open(maps / "03.png"))
    labels[0, :2] = 77
    Image.fromarray(labels).save(maps / "03.png")
    message = fault(shapes, maps, "label_maps", "semantic")
    assert "03.png" in message and "no class: 77 (2 pixels)" in message


def test_255_is_no_class_of_a_dataset_with_background(tmp_path: Path, write: Callable[..., Dataset]) -> None:
    """It is often the foreground of a mask, and would be scored as void."""
    samples = [
        Sample(split, "a", np.full((4, 6), k, np.uint8), semantic=np.eye(4, 6, dtype=int))
        for k, split in enumerate(("train", "test"))
    ]
    lung = Category(id=1, name="lung", isthing=False, color=(1, 1, 1))
    dataset = write(Converted([lung], True, "test", samples, orientation="stored"), 1)
    (tmp_path / "masks").mkdir()
    Image.fromarray(np.eye(4, 6, dtype=np.uint8) * 255).save(tmp_path / "masks/a.png")
    message = fault(dataset.root, tmp_path / "masks", "label_maps", "semantic")
    assert "no class: 255 (4 pixels)" in message and "{0: background, 255: lung}" in message


def test_a_class_that_the_dataset_lacks(shapes: Path, maps: Path) -> None:
    message = fault(shapes, maps, "label_maps", "semantic", classes={0: "sky", 1: "grund", 2: None})
    assert "grund" in message and "did you mean 'ground'" in message


def test_two_files_of_one_name(shapes: Path, maps: Path) -> None:
    shutil.copy(maps / "03.png", maps / "03.tif")
    assert "two files for 03" in fault(shapes, maps, "label_maps", "semantic")


@pytest.mark.parametrize(
    ("labels", "expected"),
    [
        (None, "no dataset.json"),
        ({"background": 0, "all": [1, 2]}, "regions (all)"),
        ({"0": "background"}, "the label '0' is 'background', not a number"),
        ({"background": 0, "tree": 1}, "tree"),
    ],
)
def test_names_of_nnunet(shapes: Path, maps: Path, labels: Any, expected: str) -> None:
    if labels is not None:
        write_json(maps / "dataset.json", {"labels": labels})
    assert expected in fault(shapes, maps, "nnunet", "semantic")


@pytest.mark.parametrize(
    ("row", "expected"),
    [
        ("0 .1 .1 .5 .1 .5 .5", "7 values"),
        ("9 .1 .1 .5 .1 .5 .5 .9", "the class is 9"),
        ("0 .1 .1 .5 .1 .5 5 .9", "coordinate 5"),
        ("0 .1 .1 .5 .1 .5 .5 90", "score is 90"),
        ("0 .1 .1 .5 .1 .5 nan .9", "not finite"),
        ("0 .1 .1 .5 .1 .5 b .9", "could not convert string to float: 'b'"),
        ("0 .1 .1 .5 .1 .5 .5 .9\n0 .1 .1 .5 .1 .5 .5 .9", "line 2 stands twice"),
    ],
)
def test_rows_of_ultralytics(shapes: Path, tmp_path: Path, row: str, expected: str) -> None:
    folder = tmp_path / "predict" / "labels"
    folder.mkdir(parents=True)
    (folder / "03.txt").write_text(row)
    message = fault(shapes, folder.parent, "ultralytics", "instance")
    assert expected in message and "03.txt" in message and "save_conf=True" in message


def test_text_files_of_other_images(shapes: Path, tmp_path: Path) -> None:
    (tmp_path / "predict").mkdir()
    (tmp_path / "predict/other.txt").write_text("0 .1 .1 .5 .1 .5 .5 .9")
    assert "no prediction of the images" in fault(shapes, tmp_path / "predict", "ultralytics", "instance")


def test_objects_of_several_classes_need_a_name(shapes: Path, maps: Path) -> None:
    assert "classes: [NAME]" in fault(shapes, maps, "object_maps", "instance")


def test_annotations_without_a_class(shapes: Path, tmp_path: Path) -> None:
    names = [{"id": i, "file_name": f"{i:02}.png"} for i in range(5)]
    write_json(tmp_path / "truth.json", {"images": names, "categories": [{"id": 1, "name": "box"}]})
    write_json(tmp_path / "in/results.json", [])
    message = fault(
        shapes, tmp_path / "in/results.json", "coco", "instance", annotations=tmp_path / "truth.json"
    )
    assert "no category disc" in message


@pytest.mark.parametrize("format", ["label_maps", "object_maps", "coco", "panoptic", "nnunet", "ultralytics"])
def test_a_folder_without_files_of_the_format(tmp_path: Path, format: str) -> None:
    (tmp_path / "notes.md").write_text("")
    spec = ExternalSpec.model_validate({"path": tmp_path, "format": format, "task": "semantic"})
    with pytest.raises(SegbenchError, match=r"external\.path"):
        files_of(spec)
