"""The writer of prediction files: formats, round trip, completeness."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image
from pycocotools import mask as rle

from segbench.contract.prediction import Instances, Panoptic, Prediction
from segbench.contract.view import BACKGROUND, Category, View
from segbench.data.dataset import Dataset, DatasetInfo, rgb_to_id
from segbench.data.images import read_label_map
from segbench.data.writing.measure import TruthStatistics
from segbench.files import read_json, write_json
from segbench.prediction.writer import PredictionWriter

SKY = Category(id=3, name="sky", isthing=False, color=(1, 2, 3))
CAR = Category(id=7, name="car", isthing=True, color=(4, 5, 6))
SIZE = (6, 9)


def make_split(root, categories=(SKY, CAR)):
    measured = TruthStatistics(categories, background=False, overlapping=False)
    measured.add(*SIZE, None, [])
    info = DatasetInfo(
        name="toy",
        title="Toy",
        categories=list(categories),
        background=False,
        tasks=["semantic", "instance", "panoptic"],
        derived=[],
        splits={"train": 2, "test": 2},
        evaluation_split="test",
        licence="",
        citation="",
        archives={},
        channels=1,
        mean=[0.5],
        std=[0.2],
        levels=None,
        partial=False,
        max_pixels=10**6,
        max_instances=2,
        statistics=measured.result(),
        digest="",
    )
    write_json(root / "dataset.json", info.model_dump())
    folder = root / "test" / "images"
    folder.mkdir(parents=True)
    for stem in ("a", "b"):
        Image.new("L", SIZE[::-1]).save(folder / f"{stem}.png")
    return Dataset(root).split("test")


@pytest.fixture
def split(tmp_path):
    return make_split(tmp_path / "toy")


def prediction() -> Prediction:
    masks = np.zeros((2, *SIZE), bool)
    masks[0, 1:4, 2:7] = True
    masks[1, 5:, :3] = True
    segments = np.where(masks[0], 3, 1)  # the second of three segments has no pixel
    return Prediction(
        semantic=masks[0].astype(int),
        instances=Instances(np.array([0.9, 0.25]), np.array([1, 1]), masks),
        panoptic=Panoptic(segments, np.array([0, 1, 1]), np.array([1.0, 0.5, 0.75])),
    )


@pytest.mark.parametrize("part", ["semantic", "instances", "panoptic", None])
def test_other_answers_are_seen_in_the_index(split, tmp_path, part):
    other = prediction()
    if part == "semantic":
        other.semantic[0, 0] = 1
    elif part == "instances":
        other.instances.scores[0] = 0.8
    elif part == "panoptic":
        other.panoptic.segments[0, 0] = 3
    written = []
    for name, answer in {"first": prediction(), "second": other}.items():
        with PredictionWriter(tmp_path / name, split, split.dataset.view("panoptic")) as writer:
            for record in split:
                writer.add(record, answer)
        written.append((tmp_path / name / "predictions.json").read_bytes())
    assert (written[0] == written[1]) == (part is None)


def test_all_parts_round_trip(split, tmp_path):
    out, view = tmp_path / "cell", split.dataset.view("panoptic")
    with PredictionWriter(out, split, view) as writer:
        for record in split:
            writer.add(record, prediction())
        assert not out.exists()

    index = read_json(out / "predictions.json")
    assert len(index.pop("digest")) == 64
    assert index == {
        "dataset": "toy",
        "split": "test",
        "task": "panoptic",
        "parts": ["semantic", "instances", "panoptic"],
        "images": 2,
    }
    expected = prediction()
    for stem in ("a", "b"):
        semantic = read_label_map(out / "semantic" / f"{stem}.png")
        assert semantic.dtype == np.uint8
        np.testing.assert_array_equal(semantic, np.where(expected.semantic == 1, 7, 3))

    found = read_json(out / "instances.json")
    assert [(f["image_id"], f["category_id"], f["score"]) for f in found] == [
        (1, 7, 0.9),
        (1, 7, 0.25),
        (2, 7, 0.9),
        (2, 7, 0.25),
    ]
    assert found[0]["bbox"] == [2, 1, 5, 3]
    for one, mask in zip(found, expected.instances.masks):
        np.testing.assert_array_equal(rle.decode(one["segmentation"]).astype(bool), mask)

    panoptic = read_json(out / "panoptic.json")
    assert panoptic["images"][1] == {"id": 2, "file_name": "b.png", "height": 6, "width": 9}
    assert [c["id"] for c in panoptic["categories"]] == [3, 7]
    first = panoptic["annotations"][0]
    assert first["segments_info"] == [
        {"id": 1, "category_id": 3, "score": 1.0, "area": 39},
        {"id": 3, "category_id": 7, "score": 0.75, "area": 15},
    ]
    with Image.open(out / "panoptic" / first["file_name"]) as png:
        np.testing.assert_array_equal(rgb_to_id(np.asarray(png)), expected.panoptic.segments)


def test_no_objects_rle_and_boxes(split, tmp_path):
    one = prediction().instances
    encoded = rle.encode(np.asfortranarray(one.masks.transpose(1, 2, 0), dtype=np.uint8))
    boxes = np.array([[2, 1, 8, 4.5], [0, 5, 3, 6]])
    nothing = Instances(np.zeros(0), np.zeros(0, int), np.zeros((0, *SIZE), bool))
    with PredictionWriter(tmp_path / "cell", split, split.dataset.view("panoptic")) as writer:
        writer.add(split.images[0], Prediction(instances=nothing))
        writer.add(split.images[1], Prediction(instances=Instances(one.scores, one.labels, encoded, boxes)))
    found = read_json(tmp_path / "cell" / "instances.json")
    assert [f["image_id"] for f in found] == [2, 2]
    assert found[0]["bbox"] == [2, 1, 6, 3.5]
    np.testing.assert_array_equal(rle.decode(found[1]["segmentation"]).astype(bool), one.masks[1])


def test_no_object_in_any_image_is_an_empty_list(split, tmp_path):
    nothing = Instances(np.zeros(0), np.zeros(0, int), [])
    with PredictionWriter(tmp_path / "cell", split, split.dataset.view("instance")) as writer:
        for record in split:
            writer.add(record, Prediction(instances=nothing))
    assert read_json(tmp_path / "cell" / "instances.json") == []


def test_semantic_view_with_background(split, tmp_path):
    semantic_view = View("semantic", (BACKGROUND, CAR))
    labels = prediction().semantic
    with PredictionWriter(tmp_path / "c", split, split.dataset.view("instance"), semantic_view) as writer:
        writer.add(split.images[0], Prediction(semantic=labels))
    np.testing.assert_array_equal(read_label_map(tmp_path / "c" / "semantic" / "a.png"), labels * 7)


def test_many_classes_take_16_bit(tmp_path):
    many = [Category(id=i, name=str(i), isthing=False, color=(0, 0, 0)) for i in range(1, 301)]
    split = make_split(tmp_path / "many", many)
    with PredictionWriter(tmp_path / "cell", split, split.dataset.view("semantic")) as writer:
        writer.add(split.images[0], Prediction(semantic=np.full(SIZE, 299)))
    assert (read_label_map(tmp_path / "cell" / "semantic" / "a.png") == 300).all()


def test_failure_leaves_nothing_and_keeps_the_old_folder(split, tmp_path):
    out, view = tmp_path / "cell", split.dataset.view("panoptic")
    out.mkdir()
    (out / "old").touch()
    with pytest.raises(RuntimeError), PredictionWriter(out, split, view) as writer:
        writer.add(split.images[0], prediction())
        raise RuntimeError
    assert [p.name for p in out.iterdir()] == ["old"]
    assert sorted(p.name for p in tmp_path.iterdir()) == ["cell", "toy"]


def test_order_and_parts_are_checked(split, tmp_path):
    view = split.dataset.view("panoptic")
    with (
        pytest.raises(ValueError, match="after id 2"),
        PredictionWriter(tmp_path / "c", split, view) as writer,
    ):
        writer.add(split.images[1], prediction())
        writer.add(split.images[0], prediction())
    with pytest.raises(ValueError, match="parts"), PredictionWriter(tmp_path / "c", split, view) as writer:
        writer.add(split.images[0], prediction())
        writer.add(split.images[1], Prediction(semantic=prediction().semantic))
