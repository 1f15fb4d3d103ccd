"""Methods without training, on images whose answer is known."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from overlapping_data import layers
from pycocotools import mask as rle

from segbench.contract.view import Category
from segbench.data.dataset import Converted, Dataset, Sample
from segbench.data.writing.writer import write_dataset
from segbench.errors import SegbenchError
from segbench.files import read_json
from segbench.prediction.classical import Otsu, Watershed
from segbench.prediction.controls import run_control

ABOUT: dict[str, Any] = {"title": "", "licence": "", "citation": "", "archives": {}}
SIZE = (60, 80)
CENTRES = [(20, 20), (20, 37), (42, 60)]
"""Discs of radius 10; the first two touch."""


def discs() -> list[np.ndarray]:
    y, x = np.mgrid[: SIZE[0], : SIZE[1]]
    first, second, third = ((y - b) ** 2 + (x - a) ** 2 <= 100 for b, a in CENTRES)
    return [first, second & ~first, third]


def image(inverted: bool, speck: bool, number: int) -> np.ndarray:
    grey = np.where(np.any(discs(), axis=0), 170, 60)
    if speck:
        grey[5:8, 70:73] = 170
    noise = np.random.default_rng(number).normal(0, 6, SIZE)
    levels = (255 - grey if inverted else grey) + noise
    return np.repeat(levels.clip(0, 255).astype(np.uint8)[..., None], 3, 2)


def dataset(root: Path, *, inverted: bool | None = False, speck: bool = False, classes: int = 1) -> Path:
    """Discs of the class `disc`; with two classes, a dark square of the class `rare` in a corner.

    inverted: whether discs are dark; None: in every other image.
    """
    categories = [
        Category(id=i, name=name, isthing=True, color=(i, 0, 0))
        for i, name in enumerate(["rare", "disc"][-classes:], 1)
    ]

    def samples():
        for number, split in enumerate(["train", "train", "test"]):
            dark = number % 2 == 1 if inverted is None else inverted
            found = [{"category_id": classes, "segmentation": mask, "iscrowd": 0} for mask in discs()]
            if classes == 2:
                corner = np.zeros(SIZE, bool)
                corner[50:58, 2:10] = True
                found.append({"category_id": 1, "segmentation": corner, "iscrowd": 0})
            yield Sample(split, str(number), image(dark, speck, number), instances=found)

    converted = Converted(categories, True, "test", list(samples()), orientation="stored")
    write_dataset(converted, root, name="discs", channels=3, **ABOUT)
    return root


@pytest.mark.parametrize(
    ("inverted", "rule"), [(False, "bright"), (True, "dark"), (None, "smaller")], ids=str
)
def test_otsu_finds_bright_and_dark_objects_alike(tmp_path, inverted, rule):
    data = Dataset(dataset(tmp_path / "data", inverted=inverted))
    otsu = Otsu(data, "semantic", 0)
    assert otsu.rule == f"the {rule} part"
    found = otsu.predict_image(otsu.split.images[0])
    truth = np.any(discs(), axis=0)
    assert (found.semantic == truth).mean() > 0.98 and found.instances is None


def test_the_parts_get_the_two_most_frequent_classes(tmp_path):
    data = Dataset(dataset(tmp_path / "data", classes=2))
    otsu = Otsu(data, "semantic", 0)
    assert (otsu.rest, otsu.found) == (0, 2)
    labels = otsu.predict_image(otsu.split.images[0]).semantic
    assert set(np.unique(labels)) == {0, 2}
    watershed = Watershed(data, "instance", 0)
    assert set(watershed.predict_image(watershed.split.images[0]).instances.labels) == {1}


def test_the_watershed_parts_touching_discs_and_drops_specks(tmp_path):
    data = Dataset(dataset(tmp_path / "data", speck=True))
    watershed = Watershed(data, "instance", 0)
    found = watershed.predict_image(watershed.split.images[0])
    masks = rle.decode(found.instances.masks).transpose(2, 0, 1).astype(bool)
    assert len(masks) == 3 and found.instances.scores.min() > 0.9
    for disc in discs():
        assert max((disc & mask).sum() / (disc | mask).sum() for mask in masks) > 0.85
    assert not found.semantic[5:8, 70:73].any() and np.array_equal(found.semantic > 0, masks.any(0))


@pytest.mark.parametrize("name", ["Otsu", "Watershed"])
def test_predictions_are_written(tmp_path, name):
    root = dataset(tmp_path / "data")
    task = "semantic" if name == "Otsu" else "instance"
    run_control(f"segbench.prediction.classical:{name}", root, task, 0, tmp_path / "out")
    parts = read_json(tmp_path / "out" / "predictions.json")["parts"]
    assert parts == (["semantic"] if name == "Otsu" else ["semantic", "instances"])


def test_an_image_of_one_grey_level_has_no_objects(tmp_path):
    data = Dataset(dataset(tmp_path / "data"))
    watershed = Watershed(data, "instance", 0)
    record = watershed.split.images[0]
    watershed.split.read_image = lambda _: np.full((*SIZE, 3), 7, np.uint8)
    found = watershed.predict_image(record)
    assert len(found.instances.scores) == 0 and not found.semantic.any()


def test_classes_that_overlap_are_refused(tmp_path):
    write_dataset(layers(), tmp_path / "data", name="layers", channels=3, **ABOUT)
    with pytest.raises(SegbenchError, match="classes overlap(.|\n)*`exclude`"):
        Otsu(Dataset(tmp_path / "data"), "semantic", 0)
