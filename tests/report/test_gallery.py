import base64
import io

import numpy as np
import pandas as pd
import pytest
from fake_run import make_run
from overlapping_data import EMPTY, LEFT, PREDICTED, RIGHT, TRUTH, layers, predict
from PIL import Image

from segbench.contract.run import RunDescription
from segbench.contract.view import Category
from segbench.data.dataset import Dataset
from segbench.data.writing.writer import write_dataset
from segbench.files import read_json, write_json
from segbench.report.gallery import _compose, choose_failures, gallery
from segbench.report.regions import prediction_reader, sample, truth_reader

THING = Category(id=1, name="thing", isthing=True, color=(0, 0, 255))
STUFF = Category(id=2, name="stuff", isthing=False, color=(255, 0, 0))
SIZE = (60, 90)


@pytest.fixture(scope="module")
def street(tmp_path_factory: pytest.TempPathFactory) -> RunDescription:
    return RunDescription.read(
        make_run(tmp_path_factory.mktemp("run"), datasets=("street",), seeds=(0,), size=SIZE)
    )


def test_a_gallery_has_a_picture_an_image_and_a_thumbnail_a_network(street, tmp_path):
    found = gallery(
        street, "street", "panoptic", ["unet", "mask2former_resnet50"], pd.DataFrame(), tmp_path, 90
    )
    assert found is not None and "Street" in found.caption
    assert len(found.rows) == 3 and found.titles == ["image", "truth", "unet", "mask2former_resnet50"]
    for row in found.rows:
        with Image.open(tmp_path / row.file) as image:
            width, height = image.size
            assert image.format == "JPEG"
        assert width == pytest.approx(4 * 326 + 6)
        assert height > 320 * 60 / 90
        assert len(row.thumbnails) == 4
        for uri in row.thumbnails:
            with Image.open(
                io.BytesIO(base64.b64decode(uri.removeprefix("data:image/webp;base64,")))
            ) as small:
                assert small.size == (90, 60) and small.format == "WEBP"
        assert len(set(row.thumbnails)) == 4, "each network has a picture of its own"


def test_many_networks_are_broken_into_lines():
    tiles = [Image.new("RGB", (320, 200))] * 7
    assert _compose("a", [""] * 7, tiles, []).size == (6 * 326 + 6, 2 * 230 + 30)


def test_only_the_objects_of_drawn_images_are_held(street):
    split = Dataset(street.datasets["street"].root).split("test")
    folder = street.root / "cells" / "street" / "mask_rcnn_resnet50_fpn" / "seed0" / "predictions"
    one = split.images[1]
    every, few = (prediction_reader(folder, split, "instance", 0.0, only) for only in (None, {one.id}))
    assert [r.mask.tolist() for r in every(one, SIZE)] == [r.mask.tolist() for r in few(one, SIZE)]
    assert list(few(split.images[0], SIZE)) == []


@pytest.mark.parametrize("task", ["semantic", "panoptic"])
def test_the_control_that_copies_the_truth_looks_like_the_truth(street, task):
    split = Dataset(street.datasets["street"].root).split("test")
    folder = street.root / "cells" / "street" / "control_truth" / "seed0" / "predictions"
    truth, copied = truth_reader(split, task), prediction_reader(folder, split, task, 0.0)
    for record in split:
        regions, again = list(truth(record, SIZE)), list(copied(record, SIZE))
        assert [r.category for r in regions] == [r.category for r in again]
        for a, b in zip(regions, again):
            assert (a.mask == b.mask).all()


def test_objects_below_the_score_are_not_shown(street):
    split = Dataset(street.datasets["street"].root).split("test")
    folder = street.root / "cells" / "street" / "mask_rcnn_resnet50_fpn" / "seed0" / "predictions"
    readers = [prediction_reader(folder, split, "instance", least) for least in (0.0, 0.7)]
    every, sure = (sum(len(list(read(record, SIZE))) for record in split) for read in readers)
    assert every > sure > 0


def test_boxes_without_masks_are_painted_as_boxes(street, tmp_path):
    split = Dataset(street.datasets["street"].root).split("test")
    folder = street.root / "cells" / "street" / "mask_rcnn_resnet50_fpn" / "seed0" / "predictions"
    index, objects = read_json(folder / "predictions.json"), read_json(folder / "instances.json")
    write_json(tmp_path / "predictions.json", index | {"parts": ["boxes"]})
    write_json(tmp_path / "instances.json", [{**o, "segmentation": None} for o in objects])
    record = split.images[0]
    regions = prediction_reader(tmp_path, split, "instance", 0.0)(record, SIZE)
    areas = [o["bbox"][2] * o["bbox"][3] for o in objects if o["image_id"] == record.id]
    assert sorted(int(r.mask.sum()) for r in regions) == sorted(areas) and areas


def test_answers_to_another_task_are_converted(street):
    split = Dataset(street.datasets["street"].root).split("test")
    folder = street.root / "cells" / "street" / "unet" / "seed0" / "predictions"
    regions = list(prediction_reader(folder, split, "instance", 0.9)(split.images[0], SIZE))
    assert regions and all(r.is_object and r.category.isthing for r in regions)


def test_images_where_networks_fail_come_last_and_once(street, tmp_path):
    models = ["unet", "mask2former_resnet50"]
    scores = pd.DataFrame(
        {"unet": [0.2, 0.9, 0.8, 0.7], "mask2former_resnet50": [0.1, 0.3, 0.8, 0.6], "gone": [1.0] * 4},
        index=["img001", "img002", "img003", "another fold"],
    )
    plain = gallery(street, "street", "semantic", models, pd.DataFrame(), tmp_path)
    found = gallery(street, "street", "semantic", models, scores, tmp_path)
    assert [(row.name, row.failure) for row in plain.rows] == [(f"img00{k}", None) for k in (1, 3, 4)]
    assert [(row.name, row.failure) for row in found.rows] == [
        ("img003", None),
        ("img004", None),
        ("img001", "hardest"),
        ("img002", "networks differ"),
    ]
    assert found.rows[3].scores == ["", "", "0.90", "0.30"] and found.rows[0].scores == []
    before, after = plain.rows[0].thumbnails, found.rows[2].thumbnails
    assert before[:2] == after[:2], "image and truth"
    assert before[2] != after[2] and before[3] != after[3], "mistakes"
    assert "Networks differ" in found.caption and "Networks differ" not in plain.caption


def test_failures_by_hand():
    scores = pd.DataFrame({"a": [0.1, 0.5, 0.9, 1.0], "b": [0.2, 0.5, np.nan, 0.4]}, index=list("wxyz"))
    assert choose_failures(scores, 1, 1) == {"w": "hardest", "z": "networks differ"}
    assert choose_failures(scores, 0, 3) == {"z": "networks differ", "w": "networks differ"}
    assert choose_failures(scores[["a"]], 1, 2) == {"w": "hardest"}, "one network does not differ"
    assert choose_failures(pd.DataFrame(), 1, 1) == {}


def test_no_gallery_without_predictions(street, tmp_path):
    run = street.model_copy(update={"root": tmp_path})
    assert gallery(run, "street", "semantic", ["unet"], pd.DataFrame(), tmp_path / "pictures") is None
    assert not (tmp_path / "pictures").exists()


@pytest.mark.parametrize("size", [(10, 10), (7, 13), (40, 40), (61, 89)])
def test_sampling_takes_the_pixels_that_nearest_neighbour_resizing_takes(size):
    values = np.random.default_rng(0).integers(0, 255, (40, 31), np.uint8)
    resized = Image.fromarray(values).resize(size[::-1], Image.Resampling.NEAREST)
    assert (sample(values, size) == np.asarray(resized)).all()


def test_regions_come_at_the_size_of_the_tile(street):
    split = Dataset(street.datasets["street"].root).split("test")
    cells = street.root / "cells" / "street"
    for model in ("unet", "mask_rcnn_resnet50_fpn", "mask2former_resnet50"):
        for task in split.dataset.info.tasks:
            read = prediction_reader(cells / model / "seed0" / "predictions", split, task, 0.0)
            regions = [r for record in split for r in read(record, (30, 45))]
            assert regions and {r.mask.shape for r in regions} == {(30, 45)}, (model, task)


def test_classes_that_overlap_are_regions_of_their_own(tmp_path):
    texts = {"title": "", "licence": "", "citation": ""}
    write_dataset(layers(), tmp_path / "data", name="layers", archives={}, channels=3, **texts)
    split = Dataset(tmp_path / "data").split("test")
    folder = predict(Dataset(tmp_path / "data"), tmp_path / "predictions", PREDICTED, EMPTY)
    for read, values in (
        (truth_reader(split, "semantic"), TRUTH),
        (prediction_reader(folder, split, "semantic", 0.0), PREDICTED),
    ):
        void = [("void", False, (values < 0).tolist())] if (values < 0).any() else []
        classes = [(c.name, True, np.isin(values, (c.id, 3)).tolist()) for c in (LEFT, RIGHT)]
        first, second = split.images
        found = [(r.category.name, r.overlaps, r.mask.tolist()) for r in read(first, values.shape)]
        assert found == void + classes
        assert list(read(second, values.shape)) == []
