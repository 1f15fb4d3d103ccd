"""COCO files of one's own: where files and images are found, and what is an error."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from loaded import loading
from PIL import Image

from segbench.data.converters.coco import convert as unread
from segbench.data.converters.coco_reader import ObjectFile
from segbench.data.faults import Faults
from segbench.errors import SegbenchError

convert = loading(unread)

H, W = 6, 10
SQUARE = [[1, 1, 4, 1, 4, 4, 1, 4]]
CATS = [{"id": 3, "name": "cat"}, {"id": 5, "name": "dog"}]


def listed(*names: str, **more: Any) -> list[dict[str, Any]]:
    return [{"id": n, "file_name": name, "width": W, "height": H} | more for n, name in enumerate(names)]


def objects(count: int, **more: Any) -> list[dict[str, Any]]:
    """One object an image, without `iscrowd`, `area` and `bbox`."""
    return [
        {"id": n, "image_id": n, "category_id": (3, 5)[n % 2], "segmentation": SQUARE} | more
        for n in range(count)
    ]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "mine").mkdir()
    return tmp_path / "mine"


@pytest.fixture
def put(root: Path, save):
    """Write a COCO file of images with one object each, and the images."""

    def run(name: str, *images: str, folder: str = "", **more: Any) -> Path:
        for image in images:
            save(root / folder / image, np.full((H, W, 3), sum(map(ord, image)) % 250))
        content = {"images": listed(*images), "annotations": objects(len(images)), "categories": CATS}
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(json.dumps(content | more), encoding="utf-8")
        return root / name

    return run


def own(root: Path, **options: Any):
    return convert({}, {"folder": root} | options)


def found(root: Path, **options: Any) -> list[tuple[str, str]]:
    """Split and path of each image."""
    return sorted((s.split, str(Path(s.image).relative_to(root))) for s in own(root, **options).samples)


def message(root: Path, **options: Any) -> str:
    with pytest.raises(SegbenchError) as caught:
        list(own(root, **options).samples)
    assert caught.value.remedy
    return str(caught.value)


def test_missing_fields_are_computed(root: Path, put, write):
    put("all.json", "a.png", "b.png")
    dataset = write(own(root, test=["b"]))
    for split, number in (("train", 1), ("test", 2)):
        (annotation,) = json.loads(dataset.split(split).instances_json.read_text())["annotations"]
        kept = {k: annotation[k] for k in ("category_id", "iscrowd", "area", "bbox")}
        assert kept == {"category_id": number, "iscrowd": 0, "area": 9, "bbox": [1, 1, 3, 3]}
    assert [(c.id, c.name) for c in dataset.info.categories] == [(1, "cat"), (2, "dog")]


def test_files_from_the_options(root: Path, put):
    put("labels/one.json", "a.png", folder="x")
    put("labels/two.json", "b.png", folder="y")
    put("old/train.json", "a.png", folder="z")
    by_split = {"train": "labels/one.json", "test": "labels\\two.json"}
    images = {"train": "x", "test": "y"}
    assert found(root, instances=by_split, images=images) == [("test", "y/b.png"), ("train", "x/a.png")]
    assert "the image 'a.png' may be any of" in message(root, instances=by_split)
    assert found(root, instances="labels/two.json", images="y") == [("test", "y/b.png")]
    assert "options.instances: 'labels/three.json' is missing in" in message(
        root, instances="labels/three.json"
    )
    assert "'../three.json' leads out of" in message(root, instances="../three.json")
    lacking = message(root, instances=by_split, images={"train": "x"})
    assert "options.images: has no folder for the split 'test'" in lacking


def test_paths_in_archives(root: Path, put):
    put("labels/set/train.json", "a.png", folder="train")
    put("labels/set/test.json", "b.png", folder="test")
    archives = {"labels.zip": root / "labels", "train.zip": root / "train", "test.zip": root / "test"}
    explicit = {s: f"labels.zip/set/{s}.json" for s in ("train", "test")}
    for options in ({}, {"instances": explicit}, {"images": {"train": "train.zip", "test": "test.zip"}}):
        samples = list(convert(archives, options).samples)
        assert [(s.split, s.stem) for s in samples] == [("train", "a"), ("test", "b")]
    with pytest.raises(SegbenchError, match=r"begin with the name of an archive \(.*\n.*'labels.zip/...'"):
        convert(archives, {"instances": "label.zip/set/train.json"})


def test_files_that_are_not_clear_are_listed(root: Path, put):
    put("a/train.json", "a.png")
    put("b/train.json", "a.png")
    text = message(root)
    assert "has several instances files: a/train.json (train), b/train.json (train)" in text
    assert "`instances: {train: ..., test: ...}`" in text
    assert found(root, instances={"train": "b/train.json"}) == [("test", "a.png")]


def test_other_json_files_are_not_read(root: Path, put):
    """COCO's archive has captions and key points beside instances; labelme has a file for each image."""
    put("instances_train2017.json", "a.png")
    put("person_keypoints_train2017.json", "a.png")
    put("captions_train2017.json", annotations=[{"image_id": 0, "id": 1, "caption": "a cat"}])
    put("image_info_test2017.json")
    (root / "image_info_test2017.json").write_text('{"images": []}')
    (root / "a.json").write_text('{"shapes": [], "imagePath": "a.png"}')
    (root / "results.json").write_text("[]")
    assert found(root, test=["a"]) == [("test", "a.png")]


def test_no_file(root: Path):
    (root / "notes.json").write_text("{}")
    text = message(root)
    assert f"{root}: has no COCO file, with images, annotations and categories (notes.json)" in text


@pytest.mark.parametrize(
    "content",
    [
        '{"images": [{"id": "\\ud800"}]}',
        '{"images": [{"id": 1',
        '{"images": [1, 2}',
        '{"images": ' + "[" * 100_000,
    ],
)
def test_damaged_file(root: Path, content: str):
    (root / "train.json").write_text(content)
    assert "train.json: is not valid JSON" in message(root)


@pytest.mark.parametrize(
    ("encoding", "options"), [("gbk", {"encoding": "gbk"}), ("utf-16", {}), ("utf-8-sig", {})]
)
def test_other_encodings(root: Path, put, encoding: str, options: dict[str, Any]):
    path = put("all.json", "图像.png")
    path.write_text(json.dumps(json.loads(path.read_text("utf-8")), ensure_ascii=False), encoding=encoding)
    (sample,) = own(root, **options).samples
    assert sample.stem == "图像" and sample.instances[0]["segmentation"] == SQUARE
    if encoding == "gbk":
        assert "perhaps gbk" in message(root)


def test_images_in_folders_of_splits(root: Path, put, save):
    """The same names in each split; those of another split are not used."""
    for split in ("train", "val"):
        put(f"annotations/instances_{split}.json", "1.png", folder=f"images/{split}")
    assert found(root) == [("train", "images/train/1.png"), ("val", "images/val/1.png")]
    (root / "images/train/1.png").unlink()
    assert "1.png: is missing; " in message(root)
    save(root / "images/train/A/1.png", np.zeros((H, W)))
    save(root / "images/train/B/1.png", np.zeros((H, W)))
    assert "the image '1.png' may be any of" in message(root)
    (root / "images/train/A/1.png").rename(root / "images/train/A/1.PNG")
    assert found(root)[0][1] == "images/train/B/1.png"
    (root / "images/train/B/1.png").unlink()
    assert found(root)[0][1] == "images/train/A/1.PNG"


def test_images_by_the_folders_of_their_path(root: Path, put, save):
    """Names in several folders; the path in the file begins in a folder that is not there."""
    for folder in ("a", "b"):
        save(root / folder / "1.png", np.zeros((H, W)))
    put("all.json", images=listed("C:\\data\\A\\1.png", "other/b/1.png"), annotations=objects(2))
    samples = {s.stem: s for s in own(root).samples}
    assert {stem: s.instances[0]["category_id"] for stem, s in samples.items()} == {"a_1": 1, "b_1": 2}
    put("all.json", images=listed("1.png"))
    assert "the image '1.png' may be any of" in message(root)


def test_all_missing_images_are_listed(root: Path, put):
    put("train.json", "a.png", images=listed("a.png", "b.png", "../c.png"))
    put("test.json", images=listed("d.png"))
    text = message(root)
    assert text.startswith("3 errors in the annotations")
    assert f"{root / 'b.png'}: is missing; {root / 'train.json'} lists it" in text
    assert "train.json: the image '../c.png' leads out of the dataset's folder" in text
    assert f"{root / 'd.png'}: is missing" in text


def test_links_that_lead_out_are_not_read(root: Path, put, save):
    save(root.parent / "secret.png", np.zeros((H, W)))
    (root / "a.png").symlink_to(root.parent / "secret.png")
    put("train.json", images=listed("a.png"))
    assert "a.png: is missing" in message(root)


def test_image_in_two_splits(root: Path, put):
    put("train.json", "a.png", "b.png")
    put("test.json", images=listed("b.png"))
    assert f"test.json: the images 'b.png' and 'b.png' (in {root / 'train.json'}) are both" in message(root)


def test_images_that_no_file_lists(root: Path, put, save, caplog, write):
    put("train/_annotations.coco.json", "a.png", folder="train")
    put("test/_annotations.coco.json", "b.png", folder="test")
    save(root / "test/empty.png", np.zeros((H, W, 3)))
    assert len(found(root)) == 2
    assert "skipped 1 images that no file lists, such as empty.png" in caplog.text
    dataset = write(own(root, unannotated="empty"))
    assert dataset.info.splits == {"test": 2, "train": 1}
    save(root / "more/empty.png", np.zeros((H, W, 3)))
    assert "more/empty.png: no file lists the image, and it is not in the folder of a split" in message(
        root, unannotated="empty"
    )


def test_boxes(root: Path, put):
    boxes = [{**a, "segmentation": [], "bbox": [1, 1, 3, 3]} for a in objects(2)]
    put("train.json", "a.png", "b.png", annotations=[*objects(1), *boxes])
    assert "train.json: 2 of 3 objects have no outline, first annotation 0 of image 0" in message(root)
    assert [len(s.instances) for s in own(root, boxes="skip").samples] == [1, 0]


def test_boxes_as_truth(root: Path, put, write):
    """Without masks, scaled with the image, in the order of the file."""
    one = {"id": 0, "image_id": 0, "category_id": 3, "bbox": [1, 1, 3, 4]}
    outlined = {
        "id": 1,
        "image_id": 1,
        "category_id": 5,
        "bbox": [2, 0, 4, 2],
        "segmentation": SQUARE,
        "area": 6,
    }
    images = [*listed("a.png"), {"id": 1, "file_name": "b.png", "width": 2 * W, "height": 3 * H}]
    put("train.json", "a.png", "b.png", images=images, annotations=[one, outlined])
    dataset = write(own(root, boxes="truth", scale=True))
    assert dataset.info.tasks == ["detection"]
    splits = [dataset.split(name).instances_json for name in ("train", "test")]
    read = {a["category_id"]: a for p in splits for a in json.loads(p.read_text())["annotations"]}
    assert read[1]["bbox"] == [1, 1, 3, 4] and read[1]["area"] == 12
    assert read[2]["bbox"] == [1, 0, 2, pytest.approx(2 / 3)] and read[2]["area"] == 1
    assert all("segmentation" not in annotation for annotation in read.values())
    one.pop("bbox")
    put("train.json", "a.png", "b.png", images=images, annotations=[one, outlined])
    assert "1 of 2 objects have no box, first annotation 0 of image 0" in message(root, boxes="truth")


def test_area_of_the_box(root: Path, put):
    """It is dropped where the outline has another area, and only then."""
    triangle = {"segmentation": [[0, 0, 6, 0, 0, 5]], "bbox": [0, 0, 6, 5]}
    annotations = objects(3, image_id=0)
    for annotation, area in zip(annotations, (30, 15, 9), strict=True):
        annotation.update(triangle if area > 9 else {"bbox": [1, 1, 3, 3]}, area=area)
    put("train.json", "a.png", annotations=annotations)
    (sample,) = own(root).samples
    assert [o.get("area") for o in sample.instances] == [None, 15, 9]


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"image_id": 7}, "an annotation has image 7, which is not listed (and 1 more)"),
        ({"category_id": 4}, "an annotation has category 4, which is not listed"),
        ({"iscrowd": 2}, "2, not 0 or 1 at annotations.0.iscrowd) (and 1 more)"),
        ({"bbox": [1, 2]}, "annotations.0.bbox"),
    ],
)
def test_annotations_that_are_wrong(root: Path, put, change: dict[str, Any], text: str):
    annotations = objects(2, **change)
    if "image_id" in change:
        annotations[1]["image_id"] = 8
    put("train.json", "a.png", "b.png", annotations=annotations)
    assert text.replace(") (and", " (and") in message(root)


def test_errors_of_all_objects_are_listed(root: Path, put, write):
    wrong = objects(2)
    wrong[0]["segmentation"] = {"size": [H, W], "counts": [1, 2]}
    wrong[1]["segmentation"] = [[1, 1, 900, 1, 4, 4]]
    put("train.json", "a.png", "b.png", "c.png", annotations=wrong)
    with pytest.raises(SegbenchError, match="2 errors") as caught:
        write(own(root))
    assert "add up to 3 of 60 pixels" in str(caught.value)
    assert "coordinate 900 lies far outside" in str(caught.value)


@pytest.mark.parametrize("name", ["a\0.png", "/", "..", ".", "http://[bad/a.png", "x" * 5000])
def test_names_that_are_no_files(root: Path, put, name: str):
    put("train.json", images=listed(name))
    assert "remedy" in message(root)


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"instances": {"training": "train.json"}}, "'training' is not a split; write train, val or test"),
        ({"instances": "."}, "is not a file"),
        ({"images": "a.png"}, "a.png: is not a folder"),
        ({"panoptic": True}, "options.panoptic: there is no panoptic file"),
        ({"panoptic": {"train": "train.json"}}, "train.json"),
    ],
)
def test_options_that_are_wrong(root: Path, put, options: dict[str, Any], text: str):
    put("train.json", "a.png")
    assert text in message(root, **options)


def test_sizes_that_are_wrong(root: Path, put):
    """A size that is not positive counts as not stated; a huge one is not scaled."""
    put("train.json", "a.png", images=[{"id": 0, "file_name": "a.png", "width": -1, "height": 0}])
    assert len(found(root)) == 1
    put("train.json", "a.png", images=[{"id": 0, "file_name": "a.png", "width": 10**9, "height": 10**9}])
    assert "states 1000000000x1000000000" in message(root, scale=True)


@pytest.mark.parametrize("key", ["images", "categories"])
def test_lists_that_are_missing(root: Path, put, key: str):
    put("train.json", "a.png", **{key: []})
    assert f"train.json: is not as expected (lists no {key})" in message(root, instances="train.json")


def test_labels(root: Path, put):
    put("train.json", "a.png", "b.png")
    assert [c.name for c in own(root, labels=["dog", "cat"]).categories] == ["dog", "cat"]
    assert [s.instances[0]["category_id"] for s in own(root, labels=["dog", "cat"]).samples] == [2, 1]
    assert "has objects of the category 'dog', which is not in `labels`" in message(root, labels=["cat"])
    assert "options.labels: 'dogs' is not a category" in message(root, labels=["cat", "dogs", "dog"])


def test_groups_and_a_validation_split(root: Path, put):
    names = [f"p{n // 2}_{n}.png" for n in range(8)]
    put("train.json", *names)
    put("test.json", "p9_0.png")
    samples = list(own(root, group=r"(p\d)_", val_fraction=0.25).samples)
    assert {s.stem: s.group for s in samples}["p3_7"] == "p3"
    by_split = {split: {s.group for s in samples if s.split == split} for split in ("train", "val", "test")}
    assert by_split["test"] == {"p9"} and not by_split["train"] & by_split["val"]
    assert [len(part) for part in by_split.values()] == [3, 1, 1]


def turned(path: Path, orientation: int, height: int = H, width: int = W) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(np.arange(height * width, dtype=np.uint8).reshape(height, width)).save(path, exif=exif)


def test_orientation_of_the_stated_sizes(root: Path, put, write):
    """EXIF turns the image, stored as 10 x 6; the file states 6 x 10, or 10 x 6."""
    put("train.json", "a.png", "b.png")
    turned(root / "b.png", 6)
    assert own(root).orientation == "stored"
    assert "b.png: is 6x10 (width x height), " in message(root, orientation="upright")
    assert "fits only with `orientation: stored` (EXIF)" in message(root, orientation="upright")
    images = [*listed("a.png"), {"id": 1, "file_name": "b.png", "width": 6, "height": 10}]
    put("train.json", images=images, annotations=objects(2))
    dataset = write(own(root, test=["b"]))
    split = dataset.split("test")
    assert (split.read_image(split.images[0])[..., 0] == np.rot90(np.arange(60).reshape(6, 10), -1)).all()
    assert split.read_semantic("b").shape == (10, 6) and (split.read_semantic("b")[1:4, 1:4] == 2).all()
    assert "fits only with `orientation: upright` (EXIF)" in message(root, orientation="stored")


def test_orientation_that_is_not_clear(root: Path, put):
    put("train.json", "a.png", "b.png", "c.png")
    turned(root / "b.png", 3)
    text = message(root)
    assert "b.png: viewers show the image turned or flipped" in text and "`orientation: upright`" in text
    assert own(root, orientation="upright").orientation == "upright"
    turned(root / "c.png", 6)
    assert own(root).orientation == "stored"  # c.png shows it
    turned(root / "b.png", 8, W, H)
    text = message(root)
    assert "c.png: the stated size fits the image only as it is stored, that of" in text


def test_annotations_are_not_kept_in_memory(root: Path, put):
    """An annotation is parsed when its image is read."""
    path = put("train.json", "a.png", "b.png")
    faults = Faults()
    file = ObjectFile(path, faults, "utf-8", boxes="error")
    faults.raise_if_any()
    text = path.read_text()
    path.write_text(text.replace('"category_id": 5', '"category_id": 3'))
    assert [o.category_id for o in file.of(1).parsed()] == [3]
    assert file.used == {3, 5} and file.of(9).parsed() == []
