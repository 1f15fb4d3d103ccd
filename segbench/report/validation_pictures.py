"""Truth and prediction of a few validation images side by side, painted as in the galleries of the report."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from segbench.contract.report import ReportOptions
from segbench.contract.view import Task
from segbench.data.dataset import Split
from segbench.data.painting import paint, shown
from segbench.data.spread import spread_evenly
from segbench.report.regions import prediction_reader, truth_reader

MOST = 4
"""Largest number of images."""
SIDE, GAP = 512, 4
"""Longest side of an image in pixels, and pixels between image, truth and prediction."""


def validation_pictures(split: Split, predictions: Path, task: Task) -> dict[str, np.ndarray]:
    """Paint at most four images, spread evenly over a split, so that they are the same at each validation.

    Args:
        split: the images that were predicted.
        predictions: folder of their predictions.
        task: task that is shown. Objects with a score of 0.5 or more are painted.

    Returns:
        H x W x 3 uint8 by the name of the image: the image, its truth, and its prediction.
    """
    records = spread_evenly(split.images, MOST)
    ids, least = {record.id for record in records}, ReportOptions().instance_score
    readers = truth_reader(split, task), prediction_reader(predictions, split, task, least, ids)
    found = {}
    for record in records:
        image = Image.fromarray(shown(split.read_image(record)))
        image.thumbnail((SIDE, SIDE))
        grey = np.asarray(image.convert("L").convert("RGB"))
        painted = [paint(grey, read(record, (image.height, image.width))) for read in readers]
        gap = np.full((image.height, GAP, 3), 255, np.uint8)
        found[record.stem] = np.hstack([np.asarray(image), gap, painted[0], gap, painted[1]])
    return found
