"""Statistics of the training images, with which networks normalise their input."""

from __future__ import annotations

import logging

import numpy as np

from segbench.contract.channels import Window, window_by_channel
from segbench.data.levels import Levels, Range, clip, scaled, value_range
from segbench.errors import SegbenchError

log = logging.getLogger(__name__)


class ChannelStatistics:
    """Mean and standard deviation of each channel, and its value range for images of more than 8 bits.

    8-bit images are counted in a histogram. Values of other images are summed.

    Args:
        channels: number of channels.
        name: name of the dataset, for messages.
        window: values that are scaled to 0 and 1; None: the range of the images of more than 8 bits.

    Raises:
        SegbenchError: `window` does not fit the channels.
    """

    def __init__(self, channels: int, name: str, window: Window | None = None) -> None:
        self._name = name
        self._window: Levels | None = None
        if window is not None:
            try:
                self._window = Levels(ranges=window_by_channel(window, channels), stated=True)
            except ValueError as error:
                raise SegbenchError(f"`window` {error}", where=f"dataset {name}") from error
        self._counts = np.zeros((channels, 256), np.int64)
        self._sums = np.zeros((3, channels))
        """Number of pixels, sum of values, and sum of squares, of all other images."""
        self._ranges: list[Range] = []
        self._origin = np.zeros(channels)
        """Subtracted from each value before summing: squares of large values would lose precision."""

    def add(self, image: np.ndarray) -> None:
        """Add a training image: H x W x channels, with the stored values."""
        if self._window is not None:
            self._sum(scaled(image, self._window))
        elif image.dtype == np.uint8:
            for channel, counts in enumerate(self._counts):
                counts += np.bincount(image[:, :, channel].ravel(), minlength=256)
        else:
            self._add_deep(image)

    def _add_deep(self, image: np.ndarray) -> None:
        by_channel = np.moveaxis(image, 2, 0)
        own = [value_range(channel) for channel in by_channel]
        if not self._ranges:
            self._origin = np.array([low for low, _ in own])
        known = self._ranges or own
        self._ranges = [(min(a[0], b[0]), max(a[1], b[1])) for a, b in zip(own, known, strict=True)]
        clipped = np.stack([clip(channel, limits) for channel, limits in zip(by_channel, own)], axis=2)
        if changed := int((clipped != image).any(axis=2).sum()):
            log.warning(
                "%s: clipped %d pixels of a training image, which are not finite or are outliers",
                self._name,
                changed,
            )
        self._sum(clipped - self._origin)

    def _sum(self, values: np.ndarray) -> None:
        flat = values.reshape(-1, values.shape[2]).astype(np.float64)
        self._sums += np.stack([np.full(flat.shape[1], len(flat)), flat.sum(axis=0), (flat**2).sum(axis=0)])

    def result(self) -> tuple[list[float], list[float], Levels | None]:
        """Return mean and standard deviation by channel, both scaled to 0..1, and the levels or None."""
        values = np.arange(256) / 255
        number, total, squares = self._sums
        count = self._counts.sum(axis=1) + number
        low, high = np.array(self._ranges or [(0.0, 1.0)] * len(self._origin)).T
        span = np.where(high > low, high - low, 1.0)
        start = low - self._origin
        mean = (self._counts @ values + (total - number * start) / span) / count
        shifted = (squares - 2 * start * total + number * start**2) / span**2
        square = (self._counts @ values**2 + shifted) / count
        std = np.sqrt(np.maximum(square - mean**2, 0))
        levels = Levels(ranges=self._ranges, stated=False) if self._ranges else None
        return mean.tolist(), std.tolist(), self._window or levels
