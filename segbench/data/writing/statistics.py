"""Statistics of the training images, with which networks normalise their input."""

from __future__ import annotations

import logging
from typing import Any

import numpy as np

from segbench.data import levels
from segbench.data.levels import Levels

log = logging.getLogger(__name__)


class ChannelStatistics:
    """Mean and standard deviation of each channel, and the value range of images of more than 8 bits.

    8-bit images are counted in a histogram. Values of other images are summed.
    """

    def __init__(self, channels: int, name: str) -> None:
        self._name = name
        self._counts = np.zeros((channels, 256), np.int64)
        self._sums = np.zeros((3, channels))
        """Number of pixels, sum of values, and sum of squares, over images of more than 8 bits."""
        self._levels: Levels | None = None
        self._origin = 0.0
        """Subtracted from each value before summing: squares of large values would lose precision."""

    def add(self, image: np.ndarray) -> None:
        """Add a training image. `image`: array from `segbench.data.images.pixels`."""
        if image.dtype == np.uint8:
            for channel, counts in enumerate(self._counts):
                counts += np.bincount(image[:, :, channel].ravel(), minlength=256)
            return
        low, high = levels.value_range(image[:, :, 0])
        if self._levels is None:
            self._origin = low
        known = self._levels or (low, high)
        self._levels = min(low, known[0]), max(high, known[1])
        clipped = np.nan_to_num(image, nan=low, posinf=high, neginf=low).clip(low, high)
        if changed := int((clipped != image)[:, :, 0].sum()):
            log.warning(
                "%s: clipped %d pixels of a training image, which are not finite or are outliers",
                self._name,
                changed,
            )
        flat = clipped.reshape(-1, clipped.shape[2]) - self._origin
        self._sums += np.stack([np.full(flat.shape[1], len(flat)), flat.sum(axis=0), (flat**2).sum(axis=0)])

    def state(self) -> dict[str, Any]:
        """Return the counts and sums, which `merge` adds to those of other images, as JSON values."""
        return {
            "counts": self._counts.tolist(),
            "sums": self._sums.tolist(),
            "levels": self._levels,
            "origin": self._origin,
        }

    def merge(self, state: dict[str, Any]) -> None:
        """Add the `state` of other images. The last bits of sums depend on the order, counts do not."""
        self._counts += np.array(state["counts"], np.int64)
        if state["levels"] is None:
            return
        (low, high), origin = state["levels"], state["origin"]
        if self._levels is None:
            self._origin = origin
        known = self._levels or (low, high)
        self._levels = min(low, known[0]), max(high, known[1])
        number, total, squares = np.array(state["sums"])
        shift = origin - self._origin
        moved = [number, total + number * shift, squares + 2 * shift * total + number * shift**2]
        self._sums += np.stack(moved)

    def result(self) -> tuple[list[float], list[float], Levels | None]:
        """Return mean and standard deviation by channel, both scaled to 0..1, and the value range or None."""
        values = np.arange(256) / 255
        pixels = self._counts.sum(axis=1, keepdims=True)
        if self._levels is None:
            weights = self._counts / pixels
            mean, square = weights @ values, weights @ values**2
        else:
            low, high = self._levels
            span = (high - low) or 1.0
            start = low - self._origin
            number, total, squares = self._sums
            count = pixels[:, 0] + number
            mean = (self._counts @ values + (total - number * start) / span) / count
            scaled = (squares - 2 * start * total + number * start**2) / span**2
            square = (self._counts @ values**2 + scaled) / count
        std = np.sqrt(np.maximum(square - mean**2, 0))
        return mean.tolist(), std.tolist(), self._levels
