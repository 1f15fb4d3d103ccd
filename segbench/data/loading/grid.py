"""The pixels of a truth that are left after a resize and a crop.

The nearest label of each pixel is taken, so that a truth may be read at these pixels only. Values and places
are those of resizing the cropped truth.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from segbench.data.dataset import ImageRecord
from segbench.errors import SegbenchError


class Grid(NamedTuple):
    """Rows and columns of an image that are left, in rising order; a row may be there several times."""

    size: tuple[int, int]
    """Height and width of the image."""
    rows: np.ndarray
    columns: np.ndarray

    @classmethod
    def whole(cls, size: tuple[int, int]) -> Grid:
        """Return the grid of all pixels of an image of a height and width."""
        return cls(size, np.arange(size[0]), np.arange(size[1]))

    @classmethod
    def of_window(cls, size: tuple[int, int], window: list[slice], new: list[int]) -> Grid:
        """Return the grid of an image that is cropped to a window and resized by the nearest pixels.

        Args:
            size: height and width of the image.
            window: its rows and columns.
            new: height and width after the resize.
        """
        rows, columns = map(_nearest, window, new)
        return cls(size, rows, columns)

    @property
    def shape(self) -> tuple[int, int]:
        """Number of rows and columns."""
        return len(self.rows), len(self.columns)

    def of(self, values: np.ndarray, record: ImageRecord) -> np.ndarray:
        """Return the values at the pixels of the grid.

        Args:
            values: H x W or H x W x C, for the whole image.
            record: the image, which the message names.

        Raises:
            SegbenchError: the values are not for an image of this size.
        """
        check_size(values.shape[:2], self.size, record)
        axes = zip(self.size, (self.rows, self.columns))
        if all(len(places) == n and places[-1] - places[0] == n - 1 for n, places in axes):
            return values
        return values[self.rows].take(self.columns, axis=1)


def check_size(truth: tuple[int, ...], size: tuple[int, ...], record: ImageRecord) -> None:
    """Raise SegbenchError if a truth has another height and width than its image."""
    if tuple(truth) != tuple(size):
        raise SegbenchError(
            f"has height and width {tuple(size)}, its truth has {tuple(truth)}",
            where=record.path,
            remedy="convert the dataset again, or remove the image from it",
        )


def _nearest(span: slice, length: int) -> np.ndarray:
    """Return the places that the mode `NEAREST_EXACT` of torchvision takes, computed in float32 as there.

    A place halfway between two pixels is rounded as in most of torch's kernels, which differ there.
    """
    given = span.stop - span.start
    scale = np.float32(given) / np.float32(length)
    places = np.floor((np.arange(length, dtype=np.float32) + np.float32(0.5)) * scale).astype(np.int64)
    return span.start + places.clip(max=given - 1)
