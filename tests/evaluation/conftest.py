"""Fixtures for the tests of scores."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from pycocotools import mask as rle

from segbench.data.dataset import id_to_rgb
from segbench.evaluation.pooling import pool
from segbench.evaluation.runner.scored_files import OPTIONS, score_instance, score_panoptic
from segbench.evaluation.runner.scored_maps import score_semantic
from segbench.evaluation.semantic.values import Values
from segbench.evaluation.statistics import Statistics


class Scores:
    """Scores by (metric, class); the statistics file that they come from."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.statistics = Statistics(path)
        self.all = pool(self.statistics)

    def __getitem__(self, key: str | tuple[str, str]) -> float:
        metric, name = (key, "") if isinstance(key, str) else key
        (value,) = [s.value for s in self.all if (s.metric, s.name) == (metric, name)]
        return value


@pytest.fixture
def semantic_scores(tmp_path: Path) -> Callable[..., Scores]:
    """Scores lists of true and predicted maps, which are written to files."""

    def run(truth: list[Any], predicted: list[Any], names: list[str], **arguments: Any) -> Scores:
        for folder, maps in (("truth", truth), ("predicted", predicted)):
            (tmp_path / folder).mkdir(exist_ok=True)
            for i, labels in enumerate(maps):
                labels = np.asarray(labels)
                kind = np.uint8 if labels.max() < 256 else np.uint16
                Image.fromarray(labels.astype(kind)).save(tmp_path / folder / f"{i:03}.png")
        path = tmp_path / "semantic.parquet"
        values = Values(names, arguments.pop("ignore", None))
        score_semantic(
            tmp_path / "truth", tmp_path / "predicted", values, path, **{"options": OPTIONS, **arguments}
        )
        return Scores(path)

    return run


@pytest.fixture
def instance_scores(tmp_path: Path) -> Callable[..., Scores]:
    """Scores of COCO annotations and results, as values or paths."""

    def run(truth: Any, results: Any, **arguments: Any) -> Scores:
        paths = []
        for name, value in (("truth", truth), ("results", results)):
            path = value if isinstance(value, Path) else tmp_path / f"{name}.json"
            if path is not value:
                path.write_text(json.dumps(value))
            paths.append(path)
        score_instance(*paths, tmp_path / "instance.parquet", **arguments)
        return Scores(tmp_path / "instance.parquet")

    return run


@pytest.fixture
def panoptic_files(tmp_path: Path) -> Callable[..., tuple[Path, Path]]:
    """Writes truth or predictions: {image id: (map of segment ids, segments_info)}."""

    def write(
        name: str,
        images: dict[int, tuple[np.ndarray, list[dict[str, Any]]]],
        categories: list[dict[str, Any]],
    ) -> tuple[Path, Path]:
        folder = tmp_path / name
        folder.mkdir(exist_ok=True)
        annotations = []
        for image_id, (ids, info) in images.items():
            Image.fromarray(id_to_rgb(np.asarray(ids))).save(folder / f"{image_id}.png")
            full = [{"iscrowd": 0, "area": int((ids == s["id"]).sum()), **s} for s in info]
            annotations.append({"image_id": image_id, "file_name": f"{image_id}.png", "segments_info": full})
        listed = [
            {"id": i, "file_name": f"{i}.jpg", "height": ids.shape[0], "width": ids.shape[1]}
            for i, (ids, _) in images.items()
        ]
        path = tmp_path / f"{name}.json"
        path.write_text(
            json.dumps({"images": listed, "annotations": annotations, "categories": categories}, indent=1)
        )
        return path, folder

    return write


@pytest.fixture
def panoptic_scores(tmp_path: Path) -> Callable[..., Scores]:
    """Scores of two (JSON file, folder)."""

    def run(truth: tuple[Path, Path], predicted: tuple[Path, Path], **arguments: Any) -> Scores:
        path = tmp_path / "panoptic.parquet"
        folders = {"truth_folder": truth[1], "predictions_folder": predicted[1]}
        score_panoptic(truth[0], predicted[0], path, **folders, **arguments)
        return Scores(path)

    return run


def encoded(mask: np.ndarray) -> dict[str, Any]:
    found = rle.encode(np.asfortranarray(mask, dtype=np.uint8))
    return {"size": found["size"], "counts": found["counts"].decode()}


def blob(rng: np.random.Generator, shape: tuple[int, int]) -> np.ndarray:
    """A filled ellipse, at least one pixel."""
    y, x = np.ogrid[: shape[0], : shape[1]]
    cy, cx = rng.uniform(0, shape[0]), rng.uniform(0, shape[1])
    ry, rx = rng.uniform(2, shape[0] / 2.5), rng.uniform(2, shape[1] / 2.5)
    mask = ((y - cy) / ry) ** 2 + ((x - cx) / rx) ** 2 <= 1
    mask[min(int(cy), shape[0] - 1), min(int(cx), shape[1] - 1)] = True
    return mask


@pytest.fixture
def random_coco() -> Callable[..., tuple[dict[str, Any], list[dict[str, Any]]]]:
    """(COCO annotations, results) of random ellipses: crowds, ties of scores and of IoU, empty images."""

    def make(
        seed: int, images: int = 12, classes: int = 4, shape: tuple[int, int] = (130, 150), objects: int = 6
    ) -> tuple[dict[str, Any], list[dict[str, Any]]]:
        rng = np.random.default_rng(seed)
        annotations: list[dict[str, Any]] = []
        results: list[dict[str, Any]] = []

        def detect(image_id: int, class_id: int, mask: np.ndarray) -> None:
            score = float(np.round(rng.random(), 1 if rng.random() < 0.5 else 5))  # many ties
            mask_rle = encoded(mask)
            box = rle.toBbox(mask_rle).tolist()
            results.append(
                {
                    "image_id": image_id,
                    "category_id": class_id,
                    "score": score,
                    "segmentation": mask_rle,
                    "bbox": box,
                }
            )

        for image_id in range(3, 3 + images):
            for _ in range(rng.poisson(objects) if image_id % 5 else 0):
                mask, class_id = (
                    blob(rng, shape),
                    int(rng.integers(1, classes)),
                )  # the last class has no truth
                mask_rle = encoded(mask)
                annotations.append(
                    {
                        "id": len(annotations) + 1,
                        "image_id": image_id,
                        "category_id": class_id,
                        "iscrowd": int(rng.random() < 0.1),
                        "area": float(mask.sum()),
                        "bbox": rle.toBbox(mask_rle).tolist(),
                        "segmentation": mask_rle,
                    }
                )
                for _ in range(rng.integers(0, 4)):
                    other = np.roll(mask, rng.integers(-6, 7, 2), (0, 1))
                    detect(
                        image_id, class_id if rng.random() < 0.8 else int(rng.integers(1, classes + 1)), other
                    )
            for _ in range(rng.poisson(2)):
                detect(image_id, int(rng.integers(1, classes + 1)), blob(rng, shape))
        truth = {
            "images": [
                {"id": i, "height": shape[0], "width": shape[1], "file_name": f"{i}.jpg"}
                for i in range(3, 3 + images)
            ],
            "annotations": annotations,
            "categories": [{"id": c, "name": f"c{c}"} for c in range(1, classes + 1)],
        }
        return truth, results

    return make
