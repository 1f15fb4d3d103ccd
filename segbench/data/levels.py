"""The value range of images of more than 8 bits.

Cameras of 10 to 14 bits store 16, and float images have any range, so the type does not tell the range. A
dataset therefore uses the range of its training images for all of its images, and for images to predict. Each
channel has its own range, as channels may be different modalities.
"""

from __future__ import annotations

import numpy as np
from pydantic import BaseModel, ConfigDict, FiniteFloat

Range = tuple[float, float]
"""The values that are scaled to 0 and 1."""


class Levels(BaseModel):
    """The range of each channel of a dataset."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    ranges: list[tuple[FiniteFloat, FiniteFloat]]
    """By channel: the values that are scaled to 0 and 1."""
    stated: bool
    """Whether it is the `window` of the dataset's entry. It then applies to images of 8 bits, too; these
    otherwise use 0..255."""


def value_range(values: np.ndarray) -> Range:
    """Return the range of the finite values of an H x W image, without hot and dead pixels.

    A pixel counts as hot or dead if it has no neighbour like it and its distance to the range of the other
    pixels exceeds the width of that range.
    """
    values = values.astype(np.float64)  # sums of integers would overflow
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


def stretch(values: np.ndarray, limits: Range) -> np.ndarray:
    """Scale to float32 in 0..1. Values outside of the range are clipped; NaN becomes 0."""
    low, high = limits
    return ((clip(values, limits) - low) / ((high - low) or 1.0)).astype(np.float32)


def clip(values: np.ndarray, limits: Range) -> np.ndarray:
    """Clip to a range, as float64. NaN becomes the lower limit."""
    low, high = limits
    return np.nan_to_num(values.astype(np.float64), nan=low, posinf=high, neginf=low).clip(low, high)


def scaled(array: np.ndarray, levels: Levels | None) -> np.ndarray:
    """Scale an image as networks get it.

    Args:
        array: H x W x channels, with the stored values.
        levels: levels of the dataset, or None.

    Returns:
        With `levels`: float32 in 0..1. Without: uint8; images of more than 8 bits use their own range (that
        of each channel, or one for all of three channels, which keeps their colours).
    """
    by_channel = np.moveaxis(array, 2, 0)
    if levels is not None:
        flat = array.dtype == np.uint8 and not levels.stated
        ranges = [(0.0, 255.0)] * len(by_channel) if flat else levels.ranges
        return np.stack([stretch(c, limits) for c, limits in zip(by_channel, ranges, strict=True)], axis=2)
    if array.dtype == np.uint8:
        return array
    ranges = [value_range(channel) for channel in by_channel]
    if len(ranges) == 3:
        ranges = [(min(low for low, _ in ranges), max(high for _, high in ranges))] * 3
    own = np.stack([stretch(c, limits) for c, limits in zip(by_channel, ranges)], axis=2)
    return (own * 255).round().astype(np.uint8)
