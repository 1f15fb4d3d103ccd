"""A few images of many, the same each time."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from segbench.data.dataset import ImageRecord


def spread_evenly(images: Sequence[ImageRecord], most: int) -> list[ImageRecord]:
    """Return at most `most` images, spread evenly from the first to the last."""
    places = np.linspace(0, len(images) - 1, min(most, len(images))).round().astype(int)
    return [images[place] for place in places]
