"""Draw classes and objects over an image, for the galleries of the report and for `segbench segment`."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from segbench.contract.view import Category
from segbench.errors import SegbenchError

VOID = Category(id=-1, name="void", isthing=False, color=(235, 235, 235))


@dataclass
class Region:
    """A class or an object to paint.

    Attributes:
        mask: H x W bool.
        frame: paint only a frame inside of the mask of an object.
        overlaps: a class that may cover others.
    """

    category: Category
    mask: np.ndarray
    is_object: bool = False
    frame: bool = False
    overlaps: bool = False


def shown(image: np.ndarray, channels: Sequence[int] = ()) -> np.ndarray:
    """Make an image of any number of channels one that can be shown.

    Args:
        image: H x W x C, uint8, or float in 0..1.
        channels: one or three numbers of channels, from 1, to show as grey, or as red, green and blue. None:
            RGB of three channels, else the first channel as grey.

    Returns:
        H x W x 3 uint8.

    Raises:
        SegbenchError: the image has no such channel.
    """
    count = image.shape[2]
    if wrong := [number for number in channels if not 1 <= number <= count]:
        raise SegbenchError(
            f"channel {wrong[0]} cannot be shown: images have {count}",
            remedy=f"name channels from 1 to {count}",
        )
    if channels:
        image = image[:, :, [number - 1 for number in channels]]
    elif count != 3:
        image = image[:, :, :1]
    if image.dtype != np.uint8:
        image = (image * 255).round().clip(0, 255).astype(np.uint8)
    return np.broadcast_to(image, (*image.shape[:2], 3))


def paint(image: np.ndarray, regions: Iterable[Region]) -> np.ndarray:
    """Blend regions over an H x W x 3 image; return uint8.

    Classes have their own colour. Objects have shades of the colour of their class, and an outline or, with
    `frame`, nothing else. Classes that overlap have an outline, too.
    """
    canvas = image.astype(np.float32)
    outlines = []
    for k, region in enumerate(regions):
        rows, columns = (np.flatnonzero(region.mask.any(axis=axis)) for axis in (1, 0))
        if not len(rows):
            continue
        top, left = rows[0], columns[0]
        box = slice(top, rows[-1] + 1), slice(left, columns[-1] + 1)  # what is outside of it stays as it is
        mask, part = region.mask[box], canvas[box]
        if region.category is VOID:
            down, across = np.ogrid[box]
            mask = mask & ((down + across) % 6 < 2)
        color = np.array(region.category.color, np.float32)
        if region.is_object:
            shade = (0.0, 0.35, -0.3, 0.18, -0.15)[k % 5]
            color = color + (255 - color) * shade if shade > 0 else color * (1 + shade)
            if region.frame:
                part[mask & ~_eroded(_eroded(mask))] = color
                continue
        if region.is_object or region.overlaps:
            down, across = np.nonzero(mask & ~_eroded(mask))
            outlines.append(((down + top, across + left), color))
        part[mask] = 0.42 * part[mask] + 0.58 * color
    for edge, color in outlines:
        canvas[edge] = 0.35 * color + 0.65 * 255
    return canvas.clip(0, 255).astype(np.uint8)


def _eroded(mask: np.ndarray) -> np.ndarray:
    padded = np.pad(mask, 1)
    return mask & padded[:-2, 1:-1] & padded[2:, 1:-1] & padded[1:-1, :-2] & padded[1:-1, 2:]
