"""The value range of images of more than 8 bits.

Cameras of 10 to 14 bits store 16, and float images have any range, so the type does not tell the range. A
dataset therefore uses the range of its training images for all of its images, and for images to predict.
"""

from __future__ import annotations

import numpy as np

Levels = tuple[float, float]
"""The values that are scaled to 0 and 1."""


def value_range(values: np.ndarray) -> Levels:
    """Return the range of the finite values of an H x W image, without hot and dead pixels.

    A pixel counts as hot or dead if it has no neighbour like it and its distance to the range of the other
    pixels exceeds the width of that range.
    """
    finite = values[np.isfinite(values)]
    pairs = [
        (values[:, :-1], values[:, 1:]),
        (values[:-1], values[1:]),
        (values[:-1, :-1], values[1:, 1:]),
        (values[:-1, 1:], values[1:, :-1]),
    ]
    both = [np.stack(pair)[:, np.isfinite(pair[0]) & np.isfinite(pair[1])] for pair in pairs]
    both = [pair for pair in both if pair.size]
    if both:
        high = max(pair.min(axis=0).max() for pair in both)
        low = min(pair.max(axis=0).min() for pair in both)
        width = max(high - low, 0)
        finite = finite[(finite >= low - width) & (finite <= high + width)]
    return float(finite.min()), float(finite.max())


def stretch(values: np.ndarray, levels: Levels) -> np.ndarray:
    """Scale to float32 in 0..1. Values outside of the range are clipped; NaN becomes 0."""
    low, high = levels
    span = (high - low) or 1.0
    scaled = (np.nan_to_num(values, nan=low, posinf=high, neginf=low).clip(low, high) - low) / span
    return scaled.astype(np.float32)
