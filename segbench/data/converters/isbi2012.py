"""ISBI 2012: membranes in electron microscopy, two multi-page TIFFs. Arganda-Carreras et al. 2015.

The truth of the test stack is not public, so the training stack is divided. As neighbouring slices are alike,
the first 70 % of the slices are the training split and the rest is the test split (21 and 9 of 30 slices).
For the same reason, three neighbouring slices are a group.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageSequence

from segbench.data.converters.common import NoOptions as Options
from segbench.data.converters.common import categories, parse_options, require
from segbench.data.dataset import Archives, Converted, Sample
from segbench.data.images import open_image
from segbench.errors import SegbenchError

TRAINING_SHARE = 0.7
GROUP = 3
"""Slices of a group. It divides both splits of 30 slices."""


def convert(archives: Archives, options: dict[str, Any]) -> Converted:
    """Convert the stacks; no options. The class is the membrane (0 in the labels), 255 is background."""
    parse_options(Options, options)
    return Converted(
        categories=categories(["membrane"], isthing=False),
        background=True,
        evaluation_split="test",
        orientation="stored",
        division="own",
        samples=_samples(archives["train-volume.tif"], archives["train-labels.tif"]),
    )


def _samples(volume: Path, labels: Path) -> Iterator[Sample]:
    images, truths = _pages(volume), _pages(labels)
    if len(images) != len(truths):
        raise SegbenchError(
            f"has {len(truths)} pages, {volume.name} has {len(images)}",
            where=labels,
            remedy="fetch both again",
        )
    training = round(len(images) * TRAINING_SHARE)
    for number, (image, truth) in enumerate(zip(images, truths)):
        page = io.BytesIO()
        image.save(page, "PNG")
        split, place = ("train", number) if number < training else ("test", number - training)
        yield Sample(
            split,
            f"slice_{number:02d}",
            page.getvalue(),
            suffix=".png",
            semantic=(np.asarray(truth.convert("L")) <= 127).astype(np.int32),
            group=f"{split}_{place // GROUP:02d}",
        )


def _pages(path: Path) -> list[Image.Image]:
    with open_image(require(path)) as stack:
        try:
            return [page.copy() for page in ImageSequence.Iterator(stack)]
        except (OSError, SyntaxError, TypeError, ValueError) as error:  # Pillow raises any of these
            raise SegbenchError(
                f"is a damaged stack of images ({error})", where=path, remedy="fetch it again"
            ) from error
