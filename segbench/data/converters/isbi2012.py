"""ISBI 2012: membranes in electron microscopy, two multi-page TIFFs. Arganda-Carreras et al. 2015.

The challenge keeps the truth of its test stack, so the training stack is divided. Neighbouring slices are
alike, so it is cut once: the first 70 % of the slices train, the rest test (21 and 9 of upstream's 30).
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from PIL import ImageSequence

from segbench.data.converters.common import categories, require
from segbench.data.dataset import Archives, Converted, Sample, open_image
from segbench.errors import SegbenchError

TRAINING_SHARE = 0.7


def convert(archives: Archives, options: dict[str, Any]) -> Converted:
    """The class is the membrane (0 in the labels); the cells' inside (255) is background. No options."""
    return Converted(
        categories=categories(["membrane"], isthing=False),
        background=True,
        evaluation_split="test",
        samples=_samples(archives["train-volume.tif"], archives["train-labels.tif"]),
    )


def _samples(volume: Path, labels: Path) -> Iterator[Sample]:
    with open_image(require(volume)) as images, open_image(require(labels)) as truths:
        pages, answers = getattr(images, "n_frames", 1), getattr(truths, "n_frames", 1)
        if pages != answers:
            raise SegbenchError(
                f"has {answers} pages, {volume.name} has {pages}",
                where=labels,
                remedy="fetch both files again",
            )
        training = round(pages * TRAINING_SHARE)
        stacks = zip(ImageSequence.Iterator(images), ImageSequence.Iterator(truths))
        for number, (image, truth) in enumerate(stacks):
            page = io.BytesIO()
            try:
                image.save(page, "PNG")
                membrane = np.asarray(truth.convert("L")) <= 127
            except OSError as error:
                raise SegbenchError(
                    f"page {number + 1} cannot be read ({error})", where=volume, remedy="fetch it again"
                ) from error
            yield Sample(
                "train" if number < training else "test",
                f"slice_{number:02d}",
                page.getvalue(),
                suffix=".png",
                semantic=membrane.astype(np.int32),
            )
