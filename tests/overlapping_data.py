"""A small dataset whose classes overlap, and predictions of it with scores computed by hand."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from segbench.contract.prediction import Prediction
from segbench.contract.view import Category
from segbench.data.dataset import Converted, Dataset, Sample
from segbench.prediction.writer import PredictionWriter

LEFT = Category(id=1, name="left", isthing=False, color=(255, 0, 0))
RIGHT = Category(id=2, name="right", isthing=False, color=(0, 0, 255))
TRUTH = np.array([[0, 1, 1, 3, 2, -1], [0, 1, 3, 3, 2, -1]])
"""Sums of bits: 1 is left, 2 is right, 3 is both, -1 is void."""
PREDICTED = np.array([[1, 1, 0, 3, 2, 3], [0, 3, 3, 2, 0, 3]])
EMPTY = np.zeros((2, 6), int)


def layers(count: int = 2) -> Converted:
    """Training images of `TRUTH`, and as test images one of `TRUTH` and one without any class."""
    places = [("train", "a", TRUTH), ("train", "b", TRUTH), ("test", "c", TRUTH), ("test", "d", EMPTY)]
    rng = np.random.default_rng(0)
    samples = [
        Sample(split, stem, rng.integers(0, 255, (2, 6, 3), np.uint8), semantic=values)
        for split, stem, values in places
    ]
    more = [Category(id=k, name=f"class {k}", isthing=False, color=(k, k, k)) for k in range(3, count + 1)]
    return Converted(
        [LEFT, RIGHT, *more],
        False,
        "test",
        samples,
        orientation="stored",
        overlapping=True,
        partial=count > 2,
    )


def predict(dataset: Dataset, folder: Path, *maps: np.ndarray) -> Path:
    """Write a predicted map for each test image. Return the folder."""
    split = dataset.split("test")
    with PredictionWriter(folder, split, dataset.view("semantic")) as writer:
        for record, values in zip(split, maps, strict=True):
            writer.add(record, Prediction(semantic=values))
    return folder
