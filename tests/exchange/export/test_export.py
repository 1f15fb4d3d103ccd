"""Exported datasets: read again by the converters, and the exact layouts of the programs."""

from __future__ import annotations

import io
import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
import yaml
from outlined import Scored, objects_of, write_rows
from overlapping_data import layers
from PIL import Image

from segbench.contract.view import Category
from segbench.data.converters import coco, pairs, yolo
from segbench.data.dataset import Converted, Dataset, Sample, Split
from segbench.data.folds.write import write_fold
from segbench.errors import SegbenchError
from segbench.exchange.export.export import export_dataset
from segbench.files import read_json

CLASSES = {"1": "sky", "2": "ground", "3": "box", "4": "disc"}


def same_maps(a: Split, b: Split) -> bool:
    assert [r.stem for r in a] == [r.stem for r in b]
    return all((a.read_semantic(r.stem) == b.read_semantic(r.stem)).all() for r in a)


def same_images(a: Split, b: Split) -> bool:
    return all((a.read_image(x) == b.read_image(y)).all() for x, y in zip(a, b, strict=True))


def test_pairs(shapes: Path, tmp_path: Path, write: Callable[..., Dataset]) -> None:
    source, out = Dataset(shapes), export_dataset(shapes, tmp_path / "pairs", "pairs")
    found = read_json(out / "classes.json")
    assert found == {"classes": CLASSES, "void": 255}
    splits = {
        s: {"image": f"images/{s}/{{name}}.png", "mask": f"masks/{s}/{{name}}.png"}
        for s in source.info.splits
    }
    classes = {int(value): name for value, name in found["classes"].items()}
    options = {"folder": out, "splits": splits, "classes": classes, "void": [found["void"]]}
    again = write(pairs.convert({}, options))
    for split in source.info.splits:
        assert same_maps(source.split(split), again.split(split))
        assert same_images(source.split(split), again.split(split))
    for stem, objects in objects_of(source.split("test")).items():
        numbers = np.asarray(Image.open(out / "objects/test" / f"{stem}.png"))
        masks = {tuple(np.flatnonzero(numbers == n)) for n in np.unique(numbers) if n}
        assert masks == {tuple(np.flatnonzero(mask)) for _, mask in objects}


def test_yolo(shapes: Path, tmp_path: Path, write: Callable[..., Dataset]) -> None:
    source, out = Dataset(shapes), export_dataset(shapes, tmp_path / "yolo", "yolo")
    assert yaml.safe_load((out / "data.yaml").read_text()) == {
        **{split: f"images/{split}" for split in ("train", "val", "test")},
        "names": {0: "box", 1: "disc"},
    }
    again = write(yolo.convert({}, {"folder": out}))
    shift = {3: 1, 4: 2}
    for split in ("val", "test"):  # a crowd of `train` is left out
        true, read = objects_of(source.split(split)), objects_of(again.split(split))
        for stem, objects in true.items():
            assert [(shift[kind], mask.tolist()) for kind, mask in objects] == [
                (kind, mask.tolist()) for kind, mask in read[stem]
            ]
    crowds = sum(one["iscrowd"] for one in read_json(source.split("train").instances_json)["annotations"])
    true, read = objects_of(source.split("train")), objects_of(again.split("train"))
    assert crowds == 1 and sum(map(len, true.values())) - crowds == sum(map(len, read.values()))


def test_coco(shapes: Path, tmp_path: Path, write: Callable[..., Dataset]) -> None:
    source, out = Dataset(shapes), export_dataset(shapes, tmp_path / "coco", "coco")
    assert sorted(path.name for path in out.iterdir()) == ["annotations", "test", "train", "val"]
    files = {s: f"annotations/{{}}_{s}.json" for s in source.info.splits}
    options = {
        "folder": out,
        "instances": {s: text.format("instances") for s, text in files.items()},
        "panoptic": {s: text.format("panoptic") for s, text in files.items()},
        "images": {s: s for s in files},
    }
    again = write(coco.convert({}, options))
    for split in source.info.splits:
        a, b = source.split(split), again.split(split)
        assert same_maps(a, b) and same_images(a, b)
        for file in ("instances.json", "panoptic.json"):
            one, other = (read_json(s.root / file)["annotations"] for s in (a, b))
            assert one == other


def test_layout_of_nnunet(shapes: Path, tmp_path: Path) -> None:
    out = export_dataset(shapes, tmp_path / "raw", "nnunet", number=7)
    assert out.name == "Dataset007_shapes"
    described = read_json(out / "dataset.json")
    assert described["labels"] == {
        "background": 0,
        "sky": 1,
        "ground": 2,
        "box": 3,
        "disc": 4,
        "ignore": 5,
    }
    assert described["channel_names"] == {"0": "R", "1": "G", "2": "B"}
    assert (described["file_ending"], described["numTraining"]) == (".png", 15)
    (fold,) = read_json(out / "splits_final.json")
    assert fold["val"] == ["val_00", "val_01", "val_02"] and len(fold["train"]) == 12
    assert sorted(p.name for p in (out / "imagesTs").iterdir()) == [f"{i:02}_0000.png" for i in range(5)]
    cases = {*fold["train"], *fold["val"]}
    assert {p.name for p in (out / "imagesTr").iterdir()} == {f"{case}_0000.png" for case in cases}
    assert {p.name for p in (out / "labelsTr").iterdir()} == {f"{case}.png" for case in cases}
    labels = np.asarray(Image.open(out / "labelsTr/train_00.png"))
    ids = Dataset(shapes).split("train").read_semantic("00")
    assert (labels == np.where(ids < 0, 5, ids)).all() and (labels == 5).any()


def test_folds_of_nnunet_are_those_of_a_run(shapes: Path, tmp_path: Path) -> None:
    out = export_dataset(shapes, tmp_path / "raw", "nnunet", folds=3)
    folds = read_json(out / "splits_final.json")
    for number in (0, 2):
        write_fold(shapes, 3, number, tmp_path / "fold")
        fold = Dataset(tmp_path / "fold")
        assert {r.stem for r in fold.split("test")} == {*folds[number]["val"]}
        assert {r.stem for r in fold.split("train")} == {*folds[number]["train"]}


def test_truth_copied_into_the_predictions_of_nnunet(shapes: Path, tmp_path: Path, scored: Scored) -> None:
    out = export_dataset(shapes, tmp_path / "raw", "nnunet")
    predictions = tmp_path / "predictions"
    shutil.copytree(out / "labelsTs", predictions)
    shutil.copy(out / "dataset.json", predictions)
    assert scored(shapes, predictions, "nnunet", "semantic")["semantic", "miou"] == 1


def test_truth_copied_into_the_predictions_of_ultralytics(
    shapes: Path, tmp_path: Path, scored: Scored
) -> None:
    """Their outlines lead along the border pixels, those of the labels along the edges of these."""
    out = export_dataset(shapes, tmp_path / "yolo", "yolo")
    predict = tmp_path / "predict/labels"
    predict.mkdir(parents=True)
    for path in (out / "labels/test").iterdir():
        rows = [f"{row} 0.9\n" for row in path.read_text().splitlines()]
        (predict / path.name).write_text("".join(rows))
    near = scored(shapes, predict.parent, "ultralytics", "instance")
    assert 0.5 < near["instance", "ap"] < 1 and near["instance", "ap50"] == 1
    for stem, objects in objects_of(Dataset(shapes).split("test")).items():
        write_rows(predict / f"{stem}.txt", [(kind - 3, mask, 0.9) for kind, mask in objects])
    assert scored(shapes, predict.parent, "ultralytics", "instance")["instance", "ap"] == 1


def five_channels() -> Iterator[Sample]:
    for split, count in (("train", 3), ("test", 2)):
        for number in range(count):
            rng = np.random.default_rng([number, len(split)])
            image = rng.integers(-5, 3000, (10, 14, 5)).astype(np.int16)
            yield Sample(split, f"{number}", image, semantic=rng.integers(0, 3, (10, 14)))


def test_many_channels_and_deep_images(tmp_path: Path, write: Callable[..., Dataset], scored: Scored) -> None:
    categories = [Category(id=i, name=n, isthing=False, color=(i, i, i)) for i, n in ((1, "a"), (2, "b"))]
    dataset = write(Converted(categories, True, "test", five_channels(), orientation="stored"), 5)
    out = export_dataset(dataset.root, tmp_path / "raw", "nnunet")
    described = read_json(out / "dataset.json")
    assert described["file_ending"] == ".tif" and len(described["channel_names"]) == 5
    assert described["labels"] == {"background": 0, "a": 1, "b": 2}
    assert not (out / "splits_final.json").exists()
    (expected, *_) = (sample.image for sample in five_channels())
    assert isinstance(expected, np.ndarray)
    for channel in range(5):
        values = tifffile.imread(out / f"imagesTr/0_{channel:04}.tif")
        assert (values == expected[..., channel]).all()
    shutil.copy(out / "dataset.json", out / "labelsTs")
    assert scored(dataset.root, out / "labelsTs", "nnunet", "semantic")["semantic", "miou"] == 1
    with pytest.raises(SegbenchError, match="no objects, which YOLO learns"):
        export_dataset(dataset.root, tmp_path / "yolo", "yolo")


def photo(orientation: int) -> bytes:
    file = io.BytesIO()
    image = Image.fromarray(np.tile(np.arange(0, 240, 8, np.uint8), (20, 1)))
    exif = Image.Exif()
    exif[0x0112] = orientation
    image.save(file, "JPEG", exif=exif)
    return file.getvalue()


def test_photographs_that_exif_turns_are_written_upright_for_every_program(
    tmp_path: Path, write: Callable[..., Dataset]
) -> None:
    mask = np.zeros((20, 30), bool)
    mask[3:9, 4:20] = True
    objects: list[dict[str, Any]] = [{"category_id": 1, "segmentation": mask, "iscrowd": 0}]
    samples = [
        Sample(split, name, photo(turn), ".jpg", instances=objects)
        for split, name, turn in (("train", "a", 1), ("train", "b", 6), ("test", "c", 6))
    ]
    categories = [Category(id=1, name="cell", isthing=True, color=(1, 1, 1))]
    dataset = write(Converted(categories, True, "test", samples, orientation="stored"), 1)
    out = export_dataset(dataset.root, tmp_path / "coco", "coco")
    assert sorted(path.name for path in (out / "train").iterdir()) == ["a.jpg", "b.png"]
    listed = json.loads((out / "annotations/instances_train.json").read_text())["images"]
    assert [(one["file_name"], one["width"]) for one in listed] == [("a.jpg", 30), ("b.png", 30)]
    assert Image.open(out / "train/b.png").size == (30, 20)
    text = (export_dataset(dataset.root, tmp_path / "yolo", "yolo") / "data.yaml").read_text()
    assert "last.pt" in text and yaml.safe_load(text)["val"] == "images/test"


def test_what_cannot_be_written_is_refused(shapes: Path, tmp_path: Path) -> None:
    with pytest.raises(SegbenchError, match="did you mean 'yolo'"):
        export_dataset(shapes, tmp_path / "x", "yolov8")
    with pytest.raises(SegbenchError, match="is for nnunet"):
        export_dataset(shapes, tmp_path / "x", "coco", folds=2)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine/only.txt").write_text("kept")
    for to in ("yolo", "coco", "pairs"):
        with pytest.raises(SegbenchError, match="exists already"):
            export_dataset(shapes, tmp_path / "mine", to)
    assert [path.name for path in (tmp_path / "mine").iterdir()] == ["only.txt"]


def test_classes_that_overlap_have_a_mask_each(tmp_path: Path, write: Callable[..., Dataset]) -> None:
    dataset = write(layers(), 3)
    out = export_dataset(dataset.root, tmp_path / "pairs", "pairs")
    assert read_json(out / "classes.json") == {"classes": {"1": "left", "2": "right"}, "void": 255}
    splits = {
        split: {
            "image": f"images/{split}/{{name}}.png",
            "mask": f"masks/{split}/{{class}}/{{name}}.png",
        }
        for split in ("train", "test")
    }
    classes = {"1": "left", "2": "right"}
    options = {"folder": out, "splits": splits, "overlap": "keep", "classes": classes, "void": [255]}
    again = write(pairs.convert({}, options), 3, "again")
    assert same_maps(dataset.split("train"), again.split("train"))
    with pytest.raises(SegbenchError, match="classes that overlap, which nnU-Net cannot learn"):
        export_dataset(dataset.root, tmp_path / "raw", "nnunet")


def test_boxes_without_masks(tmp_path: Path, write: Callable[..., Dataset]) -> None:
    image = np.zeros((20, 40, 3), np.uint8)
    samples = [
        Sample(split, split, image + k, instances=[{"category_id": 2, "bbox": [3, 4, 10.5, 8], "iscrowd": 0}])
        for k, split in enumerate(("train", "val"))
    ]
    categories = [Category(id=i, name=n, isthing=True, color=(i, i, i)) for i, n in ((1, "a"), (2, "b"))]
    dataset = write(
        Converted(categories, False, "val", samples, orientation="stored", boxes=True, partial=True)
    )
    out = export_dataset(dataset.root, tmp_path / "yolo", "yolo")
    assert (out / "labels/val/val.txt").read_text() == "1 0.20625 0.4 0.2625 0.4\n"
    again = write(yolo.convert({}, {"folder": out, "boxes": "truth"}), 3, "again")
    boxes = [read_json(d.split("val").instances_json)["annotations"][0]["bbox"] for d in (dataset, again)]
    assert boxes[0] == pytest.approx(boxes[1])
    with pytest.raises(SegbenchError, match="boxes and no masks"):
        export_dataset(dataset.root, tmp_path / "pairs", "pairs")
