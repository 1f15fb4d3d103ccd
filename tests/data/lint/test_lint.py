from __future__ import annotations

import io
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from segbench.cli import app
from segbench.contract.view import Category
from segbench.data.dataset import Converted, Dataset, Sample, id_to_rgb
from segbench.data.lint.dataset import LintReport, lint_dataset
from segbench.data.properties import FILE, measure, read_properties
from segbench.errors import SegbenchError

CATEGORIES = [
    Category(id=1, name="sky", isthing=False, color=(0, 0, 255)),
    Category(id=2, name="car", isthing=True, color=(255, 0, 0)),
]


def png(seed: int, size: tuple[int, int] = (20, 30)) -> bytes:
    buffer = io.BytesIO()
    pixels = np.random.default_rng(seed).integers(0, 255, (*size, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(buffer, "png")
    return buffer.getvalue()


def panoptic_sample(split: str, number: int) -> Sample:
    ids = np.full((20, 30), 7)
    ids[2:8, 2:8], ids[10:18, 10:18], ids[:, 29] = 70_000, 9, 0
    info = [{"id": 7, "category_id": 1}, {"id": 70_000, "category_id": 2}, {"id": 9, "category_id": 2}]
    name = f"{split}{number}"
    return Sample(split, name, png(hash_of(name)), ".png", panoptic=(ids, info))


def hash_of(name: str) -> int:
    return int.from_bytes(name.encode(), "big")


@pytest.fixture
def street(write: Callable[..., Dataset]) -> Path:
    """Three training and two validation images with all kinds of truth, without errors."""
    samples = [panoptic_sample("train", i) for i in range(3)] + [panoptic_sample("val", i) for i in range(2)]
    return write(Converted(CATEGORIES, False, "val", samples, orientation="stored")).root


@pytest.fixture
def vessels(write: Callable[..., Dataset]) -> Path:
    def sample(split: str, number: int) -> Sample:
        ids = np.zeros((20, 30), int)
        ids[5:9], ids[0] = 1, -1
        return Sample(split, f"{split}{number}", png(hash_of(f"v{split}{number}")), ".png", semantic=ids)

    samples = [sample("train", i) for i in range(3)] + [sample("test", 0)]
    return write(Converted(CATEGORIES[:1], True, "test", samples, orientation="stored"), name="vessels").root


@pytest.fixture
def boxes(write: Callable[..., Dataset]) -> Path:
    """Two training images and a test image whose objects have only boxes."""
    objects = [{"category_id": 1, "bbox": [2, 3, 10, 5]}]
    samples = [
        Sample(split, name, png(hash_of(name)), ".png", instances=objects)
        for split, name in (("train", "b0"), ("train", "b1"), ("test", "b2"))
    ]
    car = CATEGORIES[1].model_copy(update={"id": 1})
    return write(
        Converted([car], False, "test", samples, orientation="stored", boxes=True), name="boxes"
    ).root


def edit(path: Path, change: Callable[[Any], Any]) -> None:
    content = json.loads(path.read_text())
    path.write_text(json.dumps(change(content) or content))


def paint(path: Path, change: Callable[[np.ndarray], Any]) -> None:
    array = np.array(Image.open(path))
    array = result if isinstance(result := change(array), np.ndarray) else array
    Image.fromarray(array).save(path)


def one_error(root: Path, file: str, what: str, count: int = 1) -> None:
    report = lint_dataset(root)
    assert [(e.file, e.count) for e in report.errors] == [(file, count)], report.errors
    assert what in report.errors[0].what
    with pytest.raises(SegbenchError, match="1 errors") as caught:
        report.raise_on_errors()
    assert file in str(caught.value) and "remedy" in str(caught.value)


def one_warning(root: Path, file: str, what: str, count: int = 1) -> None:
    report = lint_dataset(root)
    assert not report.errors
    assert [(w.file, w.count) for w in report.warnings] == [(file, count)], report.warnings
    assert what in report.warnings[0].what


def test_what_the_writer_writes_is_clean(street: Path, vessels: Path, boxes: Path) -> None:
    for root, images in ((street, 5), (vessels, 4), (boxes, 3)):
        report = lint_dataset(root)
        report.raise_on_errors()
        assert (report.dataset, report.images) == (root.name, images)
        assert report.errors == report.warnings == []
        again = LintReport.model_validate_json(report.model_dump_json())
        assert again.model_dump() == report.model_dump(), "but for what has a file of its own"


@pytest.mark.parametrize(
    ("change", "file", "what", "count"),
    [
        (lambda a: a.__setitem__((0, slice(0, 3)), [5, 5, 77]), "", "class list: 5, 77", 3),
        (lambda a: a.__setitem__((0, 0), 0), "", "class list: 0", 1),  # a dataset without background
        (lambda a: a[:, :-1].copy(), "", "has 29x20 pixels, its image has 30x20", 1),
        (lambda a: np.stack([a] * 3, -1), "", "is not a label map", 1),
    ],
)
def test_semantic_maps(street: Path, change: Any, file: str, what: str, count: int) -> None:
    paint(street / "train/semantic/train1.png", change)
    one_error(street, "train/semantic/train1.png", what, count)


def test_a_palette_image_is_read_by_index(vessels: Path) -> None:
    path = vessels / "train/semantic/train0.png"
    image = Image.open(path)
    image.load()
    image.putpalette([0, 0, 0, 255, 255, 255])
    image.save(path)
    assert Image.open(path).mode == "P"
    assert not lint_dataset(vessels).errors


def test_missing_and_unreadable_files(street: Path) -> None:
    mask = street / "train/semantic/train0.png"
    content = mask.read_bytes()
    mask.unlink()
    one_error(street, "train/semantic/train0.png", "is missing")
    mask.write_bytes(content[:-30])
    one_error(street, "train/semantic/train0.png", "not a readable image")
    mask.write_bytes(content)
    image = street / "val/images/val1.png"
    image.write_bytes(image.read_bytes()[:400])
    one_error(street, "val/images/val1.png", "not a readable image")


def test_a_missing_panoptic_png(street: Path) -> None:
    (street / "val/panoptic/val0.png").unlink()
    one_error(street, "val/panoptic/val0.png", "is missing")


def test_missing_json(street: Path) -> None:
    (street / "val/panoptic.json").unlink()
    one_error(street, "val/panoptic.json", "is missing")


def annotation(change: Callable[[dict[str, Any]], Any]) -> Callable[[Any], None]:
    """Change the second of the six annotations of the three images."""

    def on(content: Any) -> None:
        change(content["annotations"][1])

    return on


@pytest.mark.parametrize(
    ("change", "what", "count"),
    [
        (annotation(lambda a: a.update(id=1)), "occur twice, such as 1", 1),
        (annotation(lambda a: a.update(id=0)), "below 1", 1),
        (annotation(lambda a: a.update(category_id=9)), "category 9 is not a thing", 1),
        (annotation(lambda a: a.update(category_id=1)), "category 1 is not a thing", 1),
        (annotation(lambda a: a.update(area=0)), "annotation 2 (train0.png): the mask is empty", 1),
        (annotation(lambda a: a.update(segmentation=[])), "the mask is empty", 1),
        (annotation(lambda a: a.update(segmentation=[[100, 100] * 3])), "lies far outside", 1),
        (annotation(lambda a: a.update(segmentation={"size": [20, 30], "counts": "zz"})), "run lengths", 1),
        (annotation(lambda a: a.update(segmentation={"size": [9, 9], "counts": [81]})), "size [9, 9]", 1),
        (annotation(lambda a: a.update(segmentation="?")), "segmentation of type str", 1),
        (annotation(lambda a: a.update(bbox=[1, 1, 0, 5])), "is empty", 1),
        (annotation(lambda a: a.update(bbox=[1, 1])), "COCO's format (first: annotations.1.bbox", 2),
        (annotation(lambda a: a.update(iscrowd=3)), "COCO's format", 1),
        (annotation(lambda a: a.pop("area")), "COCO's format (first: annotations.1.area: Field required", 1),
        (lambda c: [c], "COCO's format", 1),
        (lambda c: c["images"][0].update(width=31), "train0.png has 31x20 pixels; it has 30x20", 1),
        (lambda c: c["images"][0].update(file_name="x.png"), "id 1, train0.png", 2),
        (lambda c: c["images"].pop() and None, "id 3, train2.png", 1),
        (lambda c: c["images"].append(c["images"][0]), "lists an image twice", 1),
        (
            lambda c: [c["images"][k].update(id=i) for k, i in ((0, 2), (1, 1))] and None,
            "do not match images/ in sorted order",
            4,
        ),
        (annotation(lambda a: a.update(image_id=99)), "annotations of images that it does not list", 1),
    ],
)
def test_instances_json(street: Path, change: Any, what: str, count: int) -> None:
    edit(street / "train/instances.json", change)
    edit(street / "dataset.json", lambda c: c.update(max_instances=2))
    one_error(street, "train/instances.json", what, count)


@pytest.mark.parametrize(
    ("change", "what"),
    [
        (
            {"bbox": [25, 3, 10, 5]},
            "annotation 1 (b0.png): the box [25.0, 3.0, 10.0, 5.0] reaches out of the image",
        ),
        ({"bbox": [-1, 3, 10, 5]}, "reaches out of the image"),
        ({"bbox": [2, 3, 0, 5]}, "the box [2.0, 3.0, 0.0, 5.0] is empty (area 50)"),
        ({"area": 0}, "is empty (area 0)"),
        ({"category_id": 2}, "category 2 is not a thing category"),
        ({"image_id": 3}, "annotations of images that it does not list"),
    ],
)
def test_boxes_without_masks(boxes: Path, change: dict[str, Any], what: str) -> None:
    edit(boxes / "train/instances.json", lambda c: c["annotations"][0].update(change))
    one_error(boxes, "train/instances.json", what)


def test_a_class_without_boxes(boxes: Path) -> None:
    edit(boxes / "train/instances.json", lambda c: c["annotations"].clear())
    edit(boxes / "dataset.json", lambda c: c)
    one_error(boxes, "train/instances.json", "classes that never occur: car")


def test_json_that_is_none(street: Path) -> None:
    (street / "train/instances.json").write_text("{")
    one_error(street, "train/instances.json", "not valid JSON")


def test_a_box_in_another_format(street: Path) -> None:
    edit(street / "train/instances.json", annotation(lambda a: a.update(bbox=[10, 10, 18, 18])))
    one_warning(street, "train/instances.json", "annotation 2 (train0.png): the box does not fit the mask")


def segment(change: Callable[[dict[str, Any]], Any]) -> Callable[[Any], None]:
    return annotation(lambda a: change(a["segments_info"][0]))


@pytest.mark.parametrize(
    ("file", "change", "what", "count"),
    [
        (
            "json",
            annotation(lambda a: a.update(file_name="x.png")),
            "x.png (image 2) does not belong to an image",
            1,
        ),
        ("json", lambda c: c["annotations"].pop() and None, "train2.png has no annotation", 1),
        ("json", lambda c: c["annotations"].append(c["annotations"][0]), "train0.png is annotated twice", 1),
        ("json", segment(lambda s: s.update(id=0)), "COCO's format", 1),
        ("json", segment(lambda s: s.update(category_id=7)), "category 7 is not a known category", 1),
        ("png", segment(lambda s: s.update(area=1)), "areas in panoptic.json are wrong: segments [7]", 1),
        ("png", segment(lambda s: s.update(iscrowd=1)), "crowds of a stuff class", 1),
        ("png", annotation(lambda a: a["segments_info"].pop(1) and None), "does not list: [70000]", 36),
        (
            "png",
            annotation(lambda a: a["segments_info"].append({**a["segments_info"][1], "id": 8})),
            "lacks segment ids that panoptic.json lists: [8]",
            1,
        ),
        (
            "png",
            annotation(lambda a: a["segments_info"].append(a["segments_info"][1])),
            "has a segment id twice",
            1,
        ),
    ],
)
def test_panoptic_json(street: Path, file: str, change: Any, what: str, count: int) -> None:
    edit(street / "train/panoptic.json", change)
    name = "train/panoptic.json" if file == "json" else "train/panoptic/train1.png"
    report = lint_dataset(street)
    missing = [e for e in report.errors if "has no annotation" in e.what]
    if "does not belong to an image" in what:  # so the image has no annotation
        assert len(report.errors) == 2 and len(missing) == 1
        report.errors.remove(missing[0])
    assert [(e.file, e.count) for e in report.errors] == [(name, count)], report.errors
    assert what in report.errors[0].what


def test_panoptic_pngs(street: Path) -> None:
    path = street / "train/panoptic/train2.png"
    paint(path, lambda a: a[:-1].copy())
    one_error(street, "train/panoptic/train2.png", "has 30x19 pixels")
    Image.fromarray(np.zeros((20, 30), np.uint8)).save(path)
    one_error(street, "train/panoptic/train2.png", "not an RGB image")


def test_two_segments_of_one_stuff_class(street: Path) -> None:
    ids = np.full((20, 30), 7)
    ids[:, 15:], ids[3:6, 3:6] = 8, 9
    Image.fromarray(id_to_rgb(ids)).save(street / "train/panoptic/train0.png")

    def two_skies(content: Any) -> None:
        content["annotations"][0]["segments_info"] = [
            {"id": 7, "category_id": 1, "iscrowd": 0, "area": 291},
            {"id": 8, "category_id": 1, "iscrowd": 0, "area": 300},
            {"id": 9, "category_id": 2, "iscrowd": 0, "area": 9},
        ]

    edit(street / "train/panoptic.json", two_skies)
    one_warning(street, "train/panoptic/train0.png", "several segments of one stuff class: [1]")


def test_void(vessels: Path) -> None:
    path = vessels / "train/semantic/train0.png"
    paint(path, lambda a: a.__setitem__(slice(8, 20), 255))
    one_warning(vessels, "train/semantic/train0.png", "65% of the pixels are void", 390)
    assert not lint_dataset(vessels, void_share=0.7).warnings
    paint(path, lambda a: np.full_like(a, 255))
    one_warning(vessels, "train/semantic/train0.png", "all pixels are void", 600)
    for other in vessels.glob("train/semantic/*.png"):
        paint(other, lambda a: np.full_like(a, 255))
    report = lint_dataset(vessels)
    assert [(e.file, e.what) for e in report.errors] == [("train/semantic", "all pixels are void")]


def test_classes_that_never_occur(vessels: Path) -> None:
    for path in vessels.glob("train/semantic/*.png"):
        paint(path, lambda a: a.__setitem__(a == 0, 255))
    report = lint_dataset(vessels)
    assert ("train/semantic", "classes that never occur: background") in [
        (w.file, w.what) for w in report.warnings
    ]


@pytest.mark.parametrize("partial", [False, True])
def test_a_class_that_the_training_images_lack(vessels: Path, partial: bool) -> None:
    """An error, unless the archives may contain only a part of the published images."""
    edit(vessels / "dataset.json", lambda c: c.update(partial=partial))
    for path in vessels.glob("train/semantic/*.png"):
        paint(path, lambda a: a.__setitem__(a == 1, 0))
    report = lint_dataset(vessels)
    found = ("train/semantic", "classes that never occur: sky")
    assert [(e.file, e.what) for e in report.errors] == ([] if partial else [found])
    assert (found in [(w.file, w.what) for w in report.warnings]) == partial


def test_a_deep_image_in_a_set_of_8_bit(vessels: Path) -> None:
    Image.fromarray(np.arange(600, dtype=np.uint16).reshape(20, 30)).save(vessels / "test/images/test0.png")
    one_warning(vessels, "test/images/test0.png", "has more than 8 bits, unlike the training images", 1)


def test_more_objects_than_ap_counts(street: Path) -> None:
    def crowded(content: Any) -> None:
        first = content["annotations"][0]
        content["annotations"] += [{**first, "id": 100 + i} for i in range(120)]
        content["annotations"] += [{**first, "id": 300, "iscrowd": 1}]

    edit(street / "val/instances.json", crowded)
    edit(street / "dataset.json", lambda c: c.update(max_instances=122))
    one_warning(street, "val/images/val0.png", "has 122 objects, more than the 100", 122)
    edit(street / "dataset.json", lambda c: c.update(max_instances=2))
    one_error(street, "dataset.json", "says max_instances 2; it is 122")


def test_the_same_image_again(street: Path) -> None:
    shutil.copy(street / "train/images/train0.png", street / "train/images/train2.png")
    one_warning(street, "train/images/train2.png", "is the same image as train/images/train0.png")
    shutil.copy(street / "train/images/train1.png", street / "val/images/val1.png")
    one_error(street, "val/images/val1.png", "same image as train/images/train1.png, in another split")


def test_images_of_one_colour_are_no_copies(street: Path) -> None:
    """Such as the slices of two patients above their heads."""
    for path in (street / "train/images/train0.png", street / "val/images/val0.png"):
        with Image.open(path) as image:
            Image.new("RGB", image.size, (7, 0, 9)).save(path)
    assert not [e for e in lint_dataset(street).errors if "same image" in e.what]


def test_names(vessels: Path) -> None:
    (vessels / "train/images/notes.txt").touch()
    one_warning(vessels, "train/images", "such as notes.txt")
    (vessels / "train/images/notes.txt").unlink()
    shutil.copy(vessels / "train/semantic/train0.png", vessels / "train/semantic/x.png")
    one_warning(vessels, "train/semantic", "files without an image, such as x.png")
    (vessels / "train/semantic/x.png").unlink()
    (vessels / "extra").mkdir()
    one_warning(vessels, "extra", "not a split of dataset.json")
    (vessels / "train/images/train0.gif").write_bytes(png(5))
    edit(vessels / "dataset.json", lambda c: c["splits"].update(train=4))
    one_error(vessels, "train/images/train0.*", "share one name", 2)


@pytest.mark.parametrize(
    ("change", "what"),
    [
        (lambda c: c["splits"].update(train=9), "says that 'train' has 9 images; it has 3"),
        (lambda c: c.update(evaluation_split="train"), "'train' is the one that is scored"),
        (lambda c: c.update(evaluation_split="val"), "the split 'val' is missing"),
        (lambda c: c.update(std=[1, 1, 0]), "one colour"),
        (lambda c: c.update(mean=[0.5]), "not 3 finite numbers"),
        (lambda c: c.update(tasks=[]), "'semantic' is missing"),
    ],
)
def test_dataset_json(vessels: Path, change: Any, what: str) -> None:
    edit(vessels / "dataset.json", change)
    one_error(vessels, "dataset.json", what)


def test_categories_of_dataset_json(street: Path) -> None:
    edit(street / "dataset.json", lambda c: c["categories"][1].update(name="sky", color=[0, 0, 255]))
    report = lint_dataset(street)
    assert [e.what for e in report.errors] == ["two categories are named 'sky'"]
    assert ["share the colour (0, 0, 255)" in w.what for w in report.warnings] == [True]
    edit(street / "dataset.json", lambda c: c["categories"][1].update(name="car", id=3))
    assert "category ids do not count from 1" in {e.what for e in lint_dataset(street).errors}


def test_splits(vessels: Path) -> None:
    edit(vessels / "dataset.json", lambda c: c["splits"].pop("train") and None)
    report = lint_dataset(vessels)
    assert [e.what for e in report.errors] == ["the split 'train' is missing"]
    edit(vessels / "dataset.json", lambda c: c["splits"].update(train=0))
    shutil.rmtree(vessels / "train")
    one_error(vessels, "train/images", "is missing")
    (vessels / "train/images").mkdir(parents=True)
    one_error(vessels, "train/images", "contains no images")


def test_no_dataset(tmp_path: Path) -> None:
    with pytest.raises(SegbenchError, match=r"dataset.json"):
        lint_dataset(tmp_path)


def test_ten_errors_are_named(vessels: Path) -> None:
    report = LintReport(dataset="x")
    for i in range(12):
        report.error(f"file{i}", "is wrong", i)
    with pytest.raises(SegbenchError, match="12 errors") as caught:
        report.raise_on_errors()
    assert "file9: is wrong (9)" in str(caught.value) and "file10" not in str(caught.value)
    assert "and 2 more" in str(caught.value)


def grouped(write: Callable[..., Dataset], division: str) -> Path:
    samples = [panoptic_sample("train", i) for i in range(3)] + [panoptic_sample("val", i) for i in range(2)]
    for sample, group in zip(samples, ["a", "a", "b", "b", "c"]):
        sample.group = group
    converted = Converted(CATEGORIES, False, "val", samples, orientation="stored", division=division)
    return write(converted).root


def test_a_group_in_two_splits_is_an_error(write: Callable[..., Dataset]) -> None:
    one_error(grouped(write, "given"), "val/groups.json", "also in another split: 'b' (train)")


def test_a_benchmark_may_tear_a_group(write: Callable[..., Dataset]) -> None:
    one_warning(grouped(write, "published"), "val/groups.json", "also in another split: 'b' (train)")


def test_groups_of_images_that_do_not_exist(street: Path) -> None:
    (street / "train/groups.json").write_text('{"train0": "a", "other": "a"}')
    one_error(street, "train/groups.json", "do not exist, such as other")
    (street / "train/groups.json").write_text("[1]")
    one_error(street, "train/groups.json", "is not an object")


def test_similar_images_of_two_splits_are_listed(street: Path) -> None:
    image = np.asarray(Image.open(street / "train/images/train1.png")).astype(int)
    changed = Image.fromarray((image + 1).clip(0, 255).astype(np.uint8))
    changed.save(street / "val/images/val0.png")
    one_warning(street, "train/images/train1.png", "looks like val/images/val0.png")
    (pair,) = lint_dataset(street).near_duplicates
    assert pair.distance <= 3


def test_class_frequencies_and_object_sizes(street: Path) -> None:
    """Of 20 x 30 pixels, 20 are void; the cars have 36 and 64: sides of 6 and 8, bins 4 log2(side)."""
    summary = lint_dataset(street).splits["train"]
    assert (summary.images, summary.groups, summary.void) == (3, 0, 20 / 600)
    car, sky = summary.classes["car"], summary.classes["sky"]
    assert (car.pixels, car.images, car.objects) == (100 / 580, 3, 6)
    assert (sky.pixels, sky.images, sky.objects) == (480 / 580, 3, 0)
    assert summary.sizes == {10: 3, 12: 3}


def test_brightness_and_sharpness_of_each_image_have_a_file(street):
    found = CliRunner().invoke(app, ["lint", str(street), "--out", str(street / "lint.json")])
    assert found.exit_code == 0, found.output
    properties = read_properties(street / FILE)
    assert sorted(properties) == [("train", f"train{k}") for k in range(3)] + [
        ("val", f"val{k}") for k in (0, 1)
    ]
    with Image.open(street / "val/images/val1.png") as image:
        expected = measure(np.asarray(image))
    assert properties["val", "val1"] == pytest.approx(expected, rel=1e-5)
    assert "properties" not in json.loads((street / "lint.json").read_text())
