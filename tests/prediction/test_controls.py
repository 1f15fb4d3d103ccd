"""Controls have the scores that theory predicts, on all generated datasets."""

from __future__ import annotations

import csv
import io
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from overlapping_data import EMPTY, TRUTH, layers
from PIL import Image

from segbench.contract.evaluation import EvaluationOptions
from segbench.contract.view import Category
from segbench.data.dataset import Converted, Dataset, Sample
from segbench.data.generated import bubbles, street, vessels
from segbench.data.images import read_label_map
from segbench.data.writing.writer import write_dataset
from segbench.evaluation.runner.evaluate import evaluate
from segbench.files import read_json
from segbench.prediction.controls import run_control

FAMILIES = {"vessels": vessels, "bubbles": bubbles, "street": street}
TASK = {"vessels": "semantic", "bubbles": "instance", "street": "panoptic"}
family = pytest.mark.parametrize("name", FAMILIES)


def write(root: Path, converted, name: str) -> Path:
    about = {"title": name, "licence": "", "citation": "", "archives": {}}
    write_dataset(converted, root, name=name, channels=1 if name == "vessels" else 3, **about)
    return root


@pytest.fixture(scope="module")
def roots(tmp_path_factory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("generated")
    options = {"size": [64, 96], "images": {"train": 4, "test": 3}}
    return {n: write(folder / n, m.convert({}, options), n) for n, m in FAMILIES.items()}


def predict(control: str, root: Path, task: str, out: Path, seed: int = 0) -> Path:
    run_control(f"segbench.prediction.controls:{control}", root, task, seed, out)
    return out


def scores(root: Path, predictions: Path) -> dict[tuple[str, str, str, str], float]:
    """Return the defined values by (task, metric, class, pooling)."""
    out = predictions.parent / "evaluation"
    evaluate(root, predictions, out, options=EvaluationOptions())
    with (out / "scores.csv").open() as file:
        rows = list(csv.DictReader(file))
    return {
        (r["task"], r["metric"], r["class"], r["pooling"]): float(r["value"])
        for r in rows
        if r["value"] not in ("", "nan")
    }


def mean_score(root: Path, predictions: Path, task: str, metric: str) -> float:
    return scores(root, predictions)[task, metric, "", "dataset"]


@family
@pytest.mark.parametrize("control", ["Constant", "Random", "Truth"])
def test_every_task_is_answered_and_repeats(control, name, roots, tmp_path):
    first = predict(control, roots[name], TASK[name], tmp_path / "first")
    again = predict(control, roots[name], TASK[name], tmp_path / "again")
    parts = read_json(first / "predictions.json")["parts"]
    assert len(parts) == {"vessels": 1, "bubbles": 2, "street": 3}[name]
    files = sorted(p.relative_to(first) for p in first.rglob("*") if p.is_file())
    assert all((first / f).read_bytes() == (again / f).read_bytes() for f in files)


@family
def test_random_depends_on_seed_and_image(name, roots, tmp_path):
    one = predict("Random", roots[name], TASK[name], tmp_path / "one", seed=0)
    two = predict("Random", roots[name], TASK[name], tmp_path / "two", seed=1)
    maps = [
        read_label_map(p).tobytes() for folder in (one, two) for p in sorted((folder / "semantic").iterdir())
    ]
    assert len(set(maps)) == len(maps) == 6


@family
def test_truth_scores_one(name, roots, tmp_path):
    found = scores(roots[name], predict("Truth", roots[name], TASK[name], tmp_path / "predictions"))
    primary = {"semantic": "miou", "detection": "box_ap", "instance": "ap", "panoptic": "pq"}
    for task in Dataset(roots[name]).info.tasks:
        assert found[task, primary[task], "", "dataset"] == pytest.approx(1)
    limited = ("ar1", "ar10")  # recalls with fewer detections than there are objects
    assert (
        not {  # the calibration errors are 0
            k: v
            for k, v in found.items()
            if v != pytest.approx(float(not k[1].endswith("ece"))) and not k[1].endswith(limited)
        }
    )


@family
def test_random_labels_hit_one_pixel_in_as_many_as_there_are_classes(name, roots, tmp_path):
    out = predict("Random", roots[name], TASK[name], tmp_path / "p")
    split = Dataset(roots[name]).split("test")
    classes = len(split.dataset.view("semantic").classes)
    hits = [split.read_semantic(r.stem) == read_label_map(out / f"semantic/{r.stem}.png") for r in split]
    share = np.mean(hits)
    assert abs(share - 1 / classes) < 5 * np.sqrt(1 / classes * (1 - 1 / classes) / np.size(hits))


@family
def test_constant_is_the_majority_of_the_training_split(name, roots, tmp_path):
    out = predict("Constant", roots[name], TASK[name], tmp_path / "p")
    dataset = Dataset(roots[name])
    train = dataset.split("train")
    maps = np.stack([train.read_semantic(r.stem) for r in train])
    majority = np.bincount(maps.ravel()).argmax()
    for path in (out / "semantic").iterdir():
        assert (read_label_map(path) == majority).all()
    if "instance" in dataset.info.tasks:
        objects = [o["category_id"] for o in read_json(train.instances_json)["annotations"]]
        found = read_json(out / "instances.json")
        assert {o["category_id"] for o in found} == {np.bincount(objects).argmax()}
        assert [o["image_id"] for o in found] == [1, 2, 3]
        assert {tuple(o["bbox"]) for o in found} == {(0, 0, 96, 64)}
    if "panoptic" in dataset.info.tasks:
        for annotation in read_json(out / "panoptic.json")["annotations"]:
            (segment,) = annotation["segments_info"]
            assert (segment["category_id"], segment["area"]) == (majority, 64 * 96)


def test_random_counts_are_those_of_the_training_split(roots, tmp_path):
    out = predict("Random", roots["street"], "panoptic", tmp_path / "p")
    train = Dataset(roots["street"]).split("train")
    mean = len(read_json(train.instances_json)["annotations"]) / 4
    assert len(read_json(out / "instances.json")) == 3 * round(mean)
    stuff = {c.id for c in train.dataset.info.categories if not c.isthing}
    for annotation in read_json(out / "panoptic.json")["annotations"]:
        classes = [s["category_id"] for s in annotation["segments_info"]]
        assert all(classes.count(c) <= 1 for c in stuff)


def test_constant_and_random_are_far_from_the_truth(roots, tmp_path):
    for control in ("Constant", "Random"):
        found = scores(
            roots["street"], predict(control, roots["street"], "panoptic", tmp_path / control / "p")
        )
        assert found["semantic", "miou", "", "dataset"] < 0.3
        assert found["instance", "ap", "", "dataset"] < 0.05
        assert found["panoptic", "pq", "", "dataset"] < 0.2


IMAGE = np.random.default_rng(0).integers(0, 256, (24, 24, 3), dtype=np.uint8)


def categories(*things: bool) -> list[Category]:
    return [
        Category(id=i, name=f"class {i}", isthing=t, color=(9 * i, 0, 0)) for i, t in enumerate(things, 1)
    ]


def png(pixels: np.ndarray) -> bytes:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()


def test_scores_on_images_of_one_class_each_follow_closed_formulas(tmp_path):
    """Half of the images show one class only, the other half the other class."""
    number, image = 300, png(IMAGE[:8, :8])
    samples = [
        Sample(split, f"{i:04}", image, ".png", panoptic=(np.ones((8, 8), int), [info]))
        for split, count in (("train", 2), ("test", number))
        for i in range(count)
        for info in [{"id": 1, "category_id": 1 + i % 2}]
    ]
    root = write(
        tmp_path / "data",
        Converted(categories(False, False), False, "test", samples, orientation="stored"),
        "halves",
    )
    found = {
        c: scores(root, predict(c, root, "panoptic", tmp_path / c / "p")) for c in ("Constant", "Random")
    }
    miou, pq = (
        {c: f[task, metric, "", "dataset"] for c, f in found.items()}
        for task, metric in (("semantic", "miou"), ("panoptic", "pq"))
    )
    # all pixels are of class 1: half are right; the other class is never right
    assert (miou["Constant"], pq["Constant"]) == (pytest.approx(1 / 4), pytest.approx(2 / 3 / 2))
    # a quarter of the pixels is of a class on both sides, three quarters on either
    assert miou["Random"] == pytest.approx(1 / 3, abs=0.02)
    # one segment per image; of each class half of the true ones and half of the predicted ones match
    assert pq["Random"] == pytest.approx(1 / 2, abs=4 * 0.5 / np.sqrt(number))


def ellipses(rng: np.random.Generator, count: int, side: int) -> np.ndarray:
    """Draw `count` x side x side bool masks as the random control documents it."""
    y, x = ((np.mgrid[:side, :side] + 0.5) / side).reshape(2, -1)
    (cy, cx), (ry, rx) = rng.random((2, count, 1)), rng.uniform(0.02, 0.25, (2, count, 1))
    return (((y - cy) / ry) ** 2 + ((x - cx) / rx) ** 2 < 1).reshape(count, side, side)


def test_random_objects_are_found_as_often_as_a_simulation_says(tmp_path):
    side, number, each = 24, 200, 10
    y, x = (np.mgrid[:side, :side] + 0.5) / side - 0.5
    disc = np.hypot(y, x) < 0.17
    samples = [
        Sample(split, f"{i:03}", png(IMAGE), ".png", instances=[dict(thing) for _ in range(objects)])
        for split, count, objects in (("train", 1, each), ("test", number, 1))
        for i in range(count)
        for thing in [{"category_id": 1, "segmentation": disc, "iscrowd": 0}]
    ]
    root = write(
        tmp_path / "data", Converted(categories(True), True, "test", samples, orientation="stored"), "discs"
    )
    found = {
        c: scores(root, predict(c, root, "instance", tmp_path / c / "p")) for c in ("Constant", "Random")
    }
    drawn = ellipses(np.random.default_rng(1), 40_000, side)
    iou = (drawn & disc).sum((1, 2)) / (drawn | disc).sum((1, 2))
    best = iou.reshape(-1, each).max(1)  # of an image
    recalls = (best[:, None] >= np.linspace(0.5, 0.95, 10)).mean(1)
    error = recalls.std() / np.sqrt(number)
    assert 0.02 < recalls.mean() < 0.5
    assert found["Random"]["instance", "ar100", "", "dataset"] == pytest.approx(recalls.mean(), abs=4 * error)
    assert found["Constant"]["instance", "ap", "", "dataset"] == 0  # the disc covers a tenth of its object


def test_truth_with_crowds_and_void(tmp_path):
    """Crowds and unlabelled pixels are not copied, and missing them costs nothing."""
    segments = np.zeros((32, 48), np.int32)
    segments[:10], segments[10:20, :30], segments[20:, 5:25], segments[20:, 25:40] = 1, 2, 3, 4
    info = [
        {"id": 1, "category_id": 1, "iscrowd": 0},
        {"id": 2, "category_id": 4, "iscrowd": 0},
        {"id": 3, "category_id": 4, "iscrowd": 1},
        {"id": 4, "category_id": 5, "iscrowd": 0},
    ]
    image = next(
        iter(street.convert({}, {"size": [32, 48], "images": {"train": 1, "test": 1}}).samples)
    ).image
    images = [Sample(s, "a", image, ".png", panoptic=(segments, info)) for s in ("train", "test")]
    root = write(
        tmp_path / "crowd",
        Converted(street.CATEGORIES, False, "test", images, orientation="stored"),
        "crowd",
    )
    out = predict("Truth", root, "panoptic", tmp_path / "cell" / "predictions")
    assert len(read_json(out / "instances.json")) == 2
    assert len(read_json(out / "panoptic.json")["annotations"][0]["segments_info"]) == 3
    for task, metric in (("semantic", "miou"), ("instance", "ap"), ("panoptic", "pq")):
        assert mean_score(root, out, task, metric) == pytest.approx(1)


def test_controls_start_without_torch():
    code = "import sys, segbench.prediction.controls; sys.exit('torch' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.fixture
def layered(tmp_path: Path) -> Path:
    """A dataset whose classes overlap; 5 of 10 labelled pixels are `right`, 6 are `left`."""
    return write(tmp_path / "layers", layers(), "layers")


def test_controls_of_classes_that_overlap(layered: Path, tmp_path: Path) -> None:
    def maps(control: str) -> list[np.ndarray]:
        folder = predict(control, layered, "semantic", tmp_path / control) / "semantic"
        return [read_label_map(folder / f"{stem}.png") for stem in "cd"]

    assert [m.tolist() for m in maps("Truth")] == [TRUTH.clip(min=0).tolist(), EMPTY.tolist()]
    assert [m.tolist() for m in maps("Constant")] == [np.ones((2, 6)).tolist()] * 2  # `right` is no majority
    drawn = np.array(maps("Random"))
    assert set(drawn.ravel().tolist()) == {0, 1, 2, 3}
