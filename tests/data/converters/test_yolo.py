"""Folders in the layouts of Ultralytics, Roboflow, CVAT and Label Studio."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from loaded import loading
from PIL import Image
from pycocotools import mask as coco

from segbench.data.converters.yolo import convert as unread
from segbench.errors import SegbenchError

convert = loading(unread)

H, W = 8, 16
SQUARE = "0.125 0.25 0.5 0.25 0.5 0.75 0.125 0.75"  # 2 to 8, and 2 to 6 pixels
TRIANGLE = "0.5 0 1 0 1 1"
YAML = "train: images/train\nval: images/val\nnames: [cat, dog]\n"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "mine").mkdir()
    return tmp_path / "mine"


@pytest.fixture
def put(root: Path, save):
    """Write an image and its text file."""

    def run(image: str, text: str, *rows: str, size: tuple[int, int] = (H, W)) -> None:
        save(root / image, np.full((*size, 3), sum(map(ord, image)) % 250))
        (root / text).parent.mkdir(parents=True, exist_ok=True)
        (root / text).write_text("\n".join(rows) + "\n")

    return run


@pytest.fixture
def standard(root: Path, put) -> Path:
    """Ultralytics' layout: an image in train, and one in val."""
    put("images/train/a.png", "labels/train/a.txt", f"0 {SQUARE}", f"1 {TRIANGLE}")
    put("images/val/b.png", "labels/val/b.txt", f"1 {SQUARE}")
    (root / "data.yaml").write_text(YAML)
    return root


def own(root: Path, **options: Any):
    return convert({}, {"folder": root} | options)


def found(root: Path, **options: Any) -> dict[str, tuple[str, list[int]]]:
    """Image -> split, and the classes of its objects."""
    return {
        str(Path(s.image).relative_to(root)): (s.split, [o["category_id"] for o in s.instances])
        for s in own(root, **options).samples
    }


def message(root: Path, **options: Any) -> str:
    with pytest.raises(SegbenchError) as caught:
        list(own(root, **options).samples)
    assert caught.value.remedy
    return str(caught.value)


def test_ultralytics(standard: Path, write):
    dataset = write(own(standard))
    assert dataset.info.splits == {"train": 1, "val": 1} and dataset.info.evaluation_split == "val"
    assert [c.name for c in dataset.info.categories] == ["cat", "dog"]
    first, second = json.loads(dataset.split("train").instances_json.read_text())["annotations"]
    assert (first["category_id"], first["area"], first["bbox"]) == (1, 24, [2, 2, 6, 4])
    assert first["segmentation"] == [[2, 2, 8, 2, 8, 6, 2, 6]]
    drawn = coco.decode(coco.frPyObjects([[8, 0, 16, 0, 16, 8]], H, W))[..., 0]
    assert (second["category_id"], second["area"]) == (2, drawn.sum())
    semantic = dataset.split("train").read_semantic("a")
    assert (semantic[2:6, 2:8] == 1).all() and (semantic[drawn > 0] == 2).all()


@pytest.mark.parametrize(
    ("text", "labels"),
    [
        ("path: .\ntrain: images/train\nval: images/val\nnc: 2\nnames: {0: cat, 1: dog}", ["cat", "dog"]),
        (
            "path: /datasets/mine\ntrain: images/train\nvalidation: [images/val]\nnames: [1, dog]",
            ["1", "dog"],
        ),
        ("path: ../datasets/mine\ntrain: ./images/train/\nval: images\\val\nnc: 2", ["class_0", "class_1"]),
        ("train: /home/a/mine/images/train\nval: C:/mine/images/val\nnames: ['a', b]", ["a", "b"]),
        ("train: ../images/train\nval: ../images/val\nnames: [a, b]", ["a", "b"]),
    ],
)
def test_yaml(standard: Path, text: str, labels: list[str]):
    (standard / "data.yaml").write_text(text)
    assert [c.name for c in own(standard).categories] == labels
    assert found(standard) == {"images/train/a.png": ("train", [1, 2]), "images/val/b.png": ("val", [2])}


def test_roboflow(root: Path, put):
    """A folder a split, named from a folder below the YAML file that does not exist."""
    for split in ("train", "valid", "test"):
        put(
            f"{split}/images/{split}_jpg.rf.0a1b.png",
            f"{split}/labels/{split}_jpg.rf.0a1b.txt",
            f"0 {SQUARE}",
        )
    text = "train: ../train/images\nval: ../valid/images\ntest: ../test/images\n\nnc: 1\nnames: ['cell']\n"
    (root / "data.yaml").write_text(text + "roboflow:\n  version: 3\n")
    converted = own(root)
    assert sorted((s.split, s.stem) for s in converted.samples) == [
        ("test", "test_jpg.rf.0a1b"),
        ("train", "train_jpg.rf.0a1b"),
        ("val", "valid_jpg.rf.0a1b"),
    ]
    assert converted.evaluation_split == "test"


def test_cvat(root: Path, put):
    """A list of the images of the only subset, which is divided."""
    names = [f"p{n // 2}_{n}" for n in range(8)]
    for name in names:
        put(f"images/train/{name}.png", f"labels/train/{name}.txt", f"0 {SQUARE}")
    (root / "train.txt").write_text("".join(f"images/train/{name}.png\n" for name in names))
    (root / "data.yaml").write_text("path: ./\ntrain: train.txt\nnames:\n  0: cell\n")
    samples = list(own(root, group=r"(p\d)_").samples)
    groups = {split: {s.group for s in samples if s.split == split} for split in ("train", "test")}
    assert len(groups["test"]) == 1 and not groups["train"] & groups["test"]


def test_lists(standard: Path):
    """A list counts from its own folder, and may have the paths of another machine."""
    (standard / "lists").mkdir()
    (standard / "lists/one.txt").write_text("./../images/train/a.png\n")
    (standard / "lists/two.txt").write_text("/home/anna/mine/images/val/b.png\n\n./images/val/b.png\n")
    (standard / "data.yaml").write_text("train: [lists/one.txt]\ntest: lists/two.txt\nnc: 2\n")
    assert found(standard) == {"images/train/a.png": ("train", [1, 2]), "images/val/b.png": ("test", [2])}
    (standard / "lists/two.txt").write_text("../../secret.png\nimages/val/c.png\n")
    text = message(standard)
    assert (
        text.startswith("2 errors") and "two.txt: lists the image '../../secret.png', which is not in" in text
    )


@pytest.mark.parametrize("divided", [False, True])
def test_label_studio(root: Path, put, divided: bool):
    """`classes.txt` instead of a YAML file."""
    for n, split in enumerate(("train", "test")):
        part = f"{split}/" if divided else ""
        put(f"images/{part}{n}.png", f"labels/{part}{n}.txt", f"1 {SQUARE}")
    (root / "classes.txt").write_text("cat\ndog\n")
    (root / "notes.json").write_text("{}")
    options = {} if divided else {"test": ["1"]}
    assert [c.name for c in own(root, **options).categories] == ["cat", "dog"]
    assert sorted(split for split, _ in found(root, **options).values()) == ["test", "train"]
    (root / "classes.txt").unlink()
    assert "has neither a YAML file with `train` and `names` nor classes.txt" in message(root)
    assert [c.name for c in own(root, labels=["a", "b"], **options).categories] == ["a", "b"]


def test_text_files_that_are_missing(standard: Path, save, caplog):
    """An image without a text file, or with an empty one, has no objects."""
    save(standard / "images/train/c.png")
    save(standard / "images/train/d.png")
    (standard / "labels/train/d.txt").write_text("\n")
    (standard / "labels/train/e.txt").write_text(f"0 {SQUARE}")
    assert found(standard)["images/train/c.png"] == found(standard)["images/train/d.png"] == ("train", [])
    assert "1 text files have no image, such as e.txt" in caplog.text
    assert "images/train/c.png" not in found(standard, unannotated="skip")
    assert "skipped 1 images without a text file" in caplog.text
    (standard / "labels/val/b.txt").unlink()
    text = message(standard)
    assert f"no image of the split 'val' has a text file (looked for {standard / 'labels/val/b.txt'})" in text


def test_text_beside_the_image(root: Path, put):
    """Only the last folder `images` stands for `labels`; without one, the text is beside the image."""
    put("images/one/images/a.png", "images/one/labels/a.txt", f"0 {SQUARE}")
    put("two/b.png", "two/b.txt", f"0 {SQUARE}")
    (root / "data.yaml").write_text("train: images/one/images\ntest: two\nnames: [x]\n")
    assert found(root) == {"images/one/images/a.png": ("train", [1]), "two/b.png": ("test", [1])}


def test_boxes_are_counted(standard: Path, caplog):
    (standard / "labels/train/a.txt").write_text(f"0 0.5 0.5 0.2 0.2\n0 {SQUARE}\n")
    (standard / "labels/val/b.txt").write_text("1 0.5 0.5 0.2 0.2\n")
    text = message(standard)
    assert "labels/train/a.txt: 2 of 3 rows are boxes (five values)" in text and "boxes: skip" in text
    assert found(standard, boxes="skip") == {
        "images/train/a.png": ("train", [1]),
        "images/val/b.png": ("val", []),
    }
    assert "skipped 2 rows that are boxes" in caplog.text


def test_boxes_as_truth(standard: Path, write):
    """Rows of boxes count from the centre; of an outline, the bounds are the box."""
    (standard / "labels/train/a.txt").write_text("0 0.5 0.5 0.25 0.5\n")
    dataset = write(own(standard, boxes="truth"))
    assert dataset.info.tasks == ["detection"]
    boxes = {
        name: [
            (a["category_id"], a["bbox"])
            for a in json.loads(dataset.split(name).instances_json.read_text())["annotations"]
        ]
        for name in ("train", "val")
    }
    assert boxes == {"train": [(1, [6, 2, 4, 4])], "val": [(2, [2, 2, 6, 4])]}


def test_rows_that_stand_twice_are_read_once(standard: Path, caplog):
    (standard / "labels/val/b.txt").write_text(f"0 {SQUARE}\n1 {SQUARE}\n0  {SQUARE} \n")
    assert found(standard)["images/val/b.png"] == ("val", [1, 2])
    assert "1 rows that stand twice in their file" in caplog.text


def test_all_rows_that_are_wrong_are_listed(standard: Path):
    rows = {
        "2 " + SQUARE: "line 1: the class is 2, but there are only the classes 0 to 1",
        "0.5 " + SQUARE: "line 2: the class is 0.5, not a whole number from 0",
        "0 0.1 0.1 0.2 0.2 0.3": "line 3: 5 coordinates after the class, an odd number",
        "0 0.1 0.1": "line 4: 3 values; an outline has a class and at least three corners",
        "0 40 10 0.2 0.2 0.3 0.3": "line 5: the coordinate 40 is not in 0 to 1 (and 1 more)",
        "0 0.1 nan 0.2 0.2 0.3 0.3": "line 6: 'nan' is not a number",
        "cat " + SQUARE: "line 7: 'cat' is not a number",
        "-1 " + SQUARE: "line 8: the class is -1, not a whole number from 0",
    }
    (standard / "labels/train/a.txt").write_text("\n".join(rows))
    (standard / "labels/val/b.txt").write_bytes(b"\xff\xfe\x00")
    text = message(standard)
    assert text.startswith("9 errors in the annotations")
    for expected in rows.values():
        assert f"labels/train/a.txt: {expected}" in text
    assert "b.txt: is not readable text" in text


def test_coordinates_that_are_rounded_are_clipped(standard: Path):
    (standard / "labels/val/b.txt").write_text("0 -0.004 0 1.002 0 1 1 0 1.0\n")
    *_, sample = own(standard).samples
    assert sample.instances[0]["segmentation"] == [[0, 0, W, 0, W, H, 0, H]]


def test_images_are_read_upright(root: Path, put, write):
    """EXIF turns the image, stored as 16 x 8, to 8 x 16: shares are of the latter, as in Ultralytics."""
    for split in ("train", "val"):
        put(f"images/{split}/{split}.jpg", f"labels/{split}/{split}.txt", "0 0 0 1 0 1 0.25 0 0.25")
        exif = Image.Exif()
        exif[0x0112] = 6
        Image.new("RGB", (W, H)).save(root / f"images/{split}/{split}.jpg", exif=exif)
    (root / "data.yaml").write_text(YAML)
    dataset = write(own(root))
    semantic = dataset.split("val").read_semantic("val")
    assert semantic.shape == (W, H) and (semantic[:4] == 1).all() and not semantic[4:].any()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("train: images/trian\nnc: 2", "data.yaml: `train` is 'images/trian', which is not in"),
        ("train: ../../secret\nnc: 2", "`train` is '../../secret', which is not in"),
        ("train: images/train/a.png\nnc: 2", "which is neither a folder nor a .txt file"),
        ("train: images/train\nnames: [a]\nnc: 2", "`nc` is 2, but there are 1 names"),
        ("train: images/train\nnames: {1: a, 2: b}", "`names` is {1: 'a', 2: 'b'}, not a list of names"),
        ("train: images/train\nnames: [yes, no]", "not a list of names"),
        ("train: images/train", "`names` is None"),
        ("train: [", "data.yaml: is not a readable YAML file"),
        ("train: images/train\nval: images/train\nnc: 2", "1 images of 'val' are also in 'train'"),
    ],
)
def test_yaml_that_is_wrong(standard: Path, text: str, expected: str):
    (standard / "data.yaml").write_text(text)
    assert expected in message(standard)


def test_which_yaml(standard: Path):
    (standard / "data.yaml").rename(standard / "one.yaml")
    (standard / "args.yaml").write_text("epochs: 3\n")
    assert len(found(standard)) == 2
    (standard / "two.yaml").write_text(YAML)
    assert "has several YAML files with `train`: one.yaml, two.yaml" in message(standard)
    assert len(found(standard, data="one.yaml")) == 2
    assert "args.yaml: has no `train`" in message(standard, data="args.yaml")
    assert "is missing" in message(standard, data="three.yaml")
    assert "leads out" in message(standard, data="../three.yaml")
