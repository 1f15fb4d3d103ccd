"""The human control: the annotation of a second person, scored by the rules of a prediction."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from segbench.contract.evaluation import EvaluationOptions
from segbench.contract.view import Category
from segbench.data.dataset import Annotation, Converted, Dataset, Sample
from segbench.data.writing.writer import write_dataset
from segbench.errors import SegbenchError
from segbench.evaluation.runner.evaluate import evaluate
from segbench.prediction.controls import run_control
from segbench.prediction.human import Human

LEFT = np.repeat([[1, 0]], 4, axis=1).repeat(8, axis=0)
"""An 8 x 8 map whose left half, columns 0 to 3, is class 1."""
WIDER = np.array([[1] * 6 + [0] * 2] * 8)
"""One person draws class 1 two columns wider: IoU 4 / 6, background 2 / 4."""


def written(folder: Path, samples: list[Sample], *, things: bool = False, background: bool = True) -> Path:
    classes = [Category(id=k, name=name, isthing=things, color=(k, 0, 0)) for k, name in ((1, "a"), (2, "b"))]
    converted = Converted(classes, background, "test", samples, orientation="stored")
    texts = {"name": "own", "title": "Own", "licence": "", "citation": ""}
    write_dataset(converted, folder, **texts, archives={}, channels=1)
    return folder


def sample(split: str, stem: str, first: np.ndarray, second: np.ndarray | None = None) -> Sample:
    image = np.full((8, 8), ord(stem), np.uint8)
    return Sample(split, stem, image, semantic=first, second=None if second is None else Annotation(second))


def scored(root: Path, out: Path, task: str = "semantic") -> tuple[dict[str, float], dict]:
    run_control("segbench.prediction.human:Human", root, task, 0, out / "predictions")
    evaluate(root, out / "predictions", out, options=EvaluationOptions(bootstrap_samples=0))
    frame = pd.read_csv(out / "scores.csv", keep_default_na=False)
    own = frame[(frame["task"] == task) & (frame["class"] == "")]
    return dict(zip(own["metric"], own["value"])), json.loads((out / "scores.json").read_text())


def test_score_of_every_image(tmp_path: Path) -> None:
    samples = [sample("train", "t", LEFT), *(sample("test", s, LEFT, WIDER) for s in "ab")]
    root = written(tmp_path / "data", samples)
    assert Dataset(root).info.twice == {"test": 2}
    values, document = scored(root, tmp_path / "out")
    assert float(values["miou"]) == pytest.approx((4 / 6 + 2 / 4) / 2)
    assert "of_images" not in document and document["images"] == 2


def test_only_images_annotated_twice_are_scored(tmp_path: Path) -> None:
    samples = [sample("train", "t", LEFT), sample("test", "a", LEFT), sample("test", "b", LEFT, WIDER)]
    values, document = scored(written(tmp_path / "data", samples), tmp_path / "out")
    assert float(values["miou"]) == pytest.approx((4 / 6 + 2 / 4) / 2)
    assert (document["images"], document["of_images"]) == (1, 2)
    assert json.loads((tmp_path / "out/predictions/predictions.json").read_text())["only"] == ["b"]


def test_void_of_the_second_person_is_no_class(tmp_path: Path) -> None:
    second = np.where(WIDER == 1, 1, -1)
    samples = [sample("train", "t", LEFT + 1), sample("test", "a", LEFT + 1, second + (second > 0))]
    values, _ = scored(written(tmp_path / "data", samples, background=False), tmp_path / "out")
    # class 1, the right half, is labelled as nothing there or as class 2: IoU 0; class 2 has 4 / 6
    assert float(values["miou"]) == pytest.approx((0 + 4 / 6) / 2)


def test_objects(tmp_path: Path) -> None:
    def objects(*masks: np.ndarray) -> list[dict]:
        return [{"category_id": 1, "segmentation": mask.astype(bool), "iscrowd": 0} for mask in masks]

    parts = LEFT[:, ::-1]
    first, second = objects(LEFT, parts), objects(LEFT)
    image = np.zeros((8, 8), np.uint8)
    samples = [
        Sample("train", "t", image, instances=first),
        Sample("test", "a", image + 1, instances=first, second=Annotation(instances=second)),
        Sample("test", "b", image + 2, instances=first),
    ]
    root = written(tmp_path / "data", samples, things=True)
    values, document = scored(root, tmp_path / "out", "instance")
    assert document["of_images"] == 2
    assert float(values["ap"]) == pytest.approx(
        51 / 101
    )  # precision 1 up to a recall of 1 / 2, of 101 points
    second_file = json.loads((root / "test/second/instances.json").read_text())
    assert [i["id"] for i in second_file["images"]] == [1] and len(second_file["annotations"]) == 1


def test_training_images_alone_are_not_enough(tmp_path: Path) -> None:
    root = written(tmp_path / "data", [sample("train", "t", LEFT, WIDER), sample("test", "a", LEFT)])
    with pytest.raises(SegbenchError, match=r"no image of the split 'test' has the annotation of a second"):
        Human(Dataset(root), "semantic", 0)


def test_other_size_names_the_file(tmp_path: Path) -> None:
    broken = sample("test", "a", LEFT, WIDER[:4])
    broken.second.source = Path("masks_b/a.png")
    message = r"semantic mask of the second annotation \(masks_b/a.png\) has 8x4 pixels, the image has 8x8"
    with pytest.raises(SegbenchError, match=message):
        written(tmp_path / "data", [sample("train", "t", LEFT), broken])


def test_digest_changes_with_the_second_annotation_only_where_there_is_one(tmp_path: Path) -> None:
    digests = [
        Dataset(
            written(tmp_path / str(k), [sample("train", "t", LEFT), sample("test", "a", LEFT, second)])
        ).info
        for k, second in enumerate((None, WIDER, LEFT))
    ]
    assert len({info.digest for info in digests}) == 3
    assert "twice" not in json.loads((tmp_path / "0/dataset.json").read_text())
