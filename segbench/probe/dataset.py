"""A small dataset of noise with squares, in the canonical format, to train on without data."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from segbench.data.dataset import Converted, Sample
from segbench.data.writing.writer import write_dataset
from segbench.jobs.cost.work import Work
from segbench.probe import scene

IMAGES = 4
"""Number of training images; they are drawn again and again."""


def write_noise(work: Work, root: Path) -> None:
    """Write a dataset with the images, classes and objects of a work.

    Args:
        work: what will be probed.
        root: folder to write.
    """
    things = max(work.things, work.network.task in ("instance", "detection"))
    classes = max(work.classes, things + (work.network.task == "panoptic"))
    converted = Converted(
        scene.categories(classes, things),
        work.network.task != "panoptic",
        "test",
        _samples(work, classes, things),
        orientation="stored",
    )
    write_dataset(
        converted,
        root,
        name="noise",
        title="Noise",
        licence="",
        citation="",
        archives={},
        channels=work.channels,
    )


def _samples(work: Work, classes: int, things: int) -> Iterator[Sample]:
    """Yield images of noise. The rest of a panoptic image is the first class, which is stuff."""
    corners = scene.squares(work.image, work.objects, work.object_size)
    labels = classes - things + 1 + np.arange(len(corners)) % max(things, 1)
    labels = labels.clip(max=classes)
    for number in range(IMAGES + 1):
        split = "train" if number < IMAGES else "test"
        image = scene.noise(np.random.default_rng(number), work.image, work.channels)
        yield Sample(split, str(number), image, **_truth(work, corners, labels))


def _truth(work: Work, corners: np.ndarray, labels: np.ndarray) -> dict[str, Any]:
    numbers = np.zeros(work.image, np.int32)
    for number, (top, left, bottom, right) in enumerate(corners, 1):
        numbers[top:bottom, left:right] = number
    if work.network.task == "panoptic":
        segments = [{"id": k, "category_id": int(label)} for k, label in enumerate(labels, 2)]
        return {"panoptic": (numbers + 1, [{"id": 1, "category_id": 1}, *segments])}
    objects = {
        "instances": [
            {"category_id": int(label), "segmentation": numbers == k, "iscrowd": 0}
            for k, label in enumerate(labels, 1)
        ]
    }
    if work.network.task == "semantic":
        semantic = np.concatenate([[0], labels])[numbers]
        return {"semantic": semantic, **(objects if work.things else {})}
    return objects
