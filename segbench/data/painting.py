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
        mask: H x W bool of the image, or of a part of it.
        frame: paint only a frame inside of the mask of an object.
        overlaps: a class that may cover others.
        corner: row and column of the image at which the mask begins.
    """

    category: Category
    mask: np.ndarray
    is_object: bool = False
    frame: bool = False
    overlaps: bool = False
    corner: tuple[int, int] = (0, 0)


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
        box = _box(region.mask)
        if box is None:
            continue
        place = tuple(slice(s.start + c, s.stop + c) for s, c in zip(box, region.corner))
        mask, part = region.mask[box], canvas[place]  # an object costs what its box does, not the image
        if region.category is VOID:
            rows, columns = np.ogrid[place]
            mask = mask & ((rows + columns) % 6 < 2)
        color = np.array(region.category.color, np.float32)
        if region.is_object:
            shade = (0.0, 0.35, -0.3, 0.18, -0.15)[k % 5]
            color = color + (255 - color) * shade if shade > 0 else color * (1 + shade)
            if region.frame:
                part[mask & ~_eroded(_eroded(mask))] = color
                continue
        if region.is_object or region.overlaps:
            outlines.append((part, mask & ~_eroded(mask), color))
        _blend(part, mask, color)
    for part, edge, color in outlines:
        part[edge] = 0.35 * color + 0.65 * 255
    return canvas.clip(0, 255).astype(np.uint8)


def _blend(part: np.ndarray, mask: np.ndarray, color: np.ndarray) -> None:
    if 4 * np.count_nonzero(mask) > mask.size:  # of a full mask, all pixels are faster than chosen ones
        np.copyto(part, 0.42 * part + 0.58 * color, where=mask[..., None])
    else:
        part[mask] = 0.42 * part[mask] + 0.58 * color


def _box(mask: np.ndarray) -> tuple[slice, slice] | None:
    """Return the smallest box that holds a mask; None if the mask is empty."""
    rows = np.flatnonzero(mask.any(1))
    if not len(rows):
        return None
    columns = np.flatnonzero(mask[rows[0] : rows[-1] + 1].any(0))
    return slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1)


def _eroded(mask: np.ndarray) -> np.ndarray:
    padded = np.pad(mask, 1)
    return mask & padded[:-2, 1:-1] & padded[2:, 1:-1] & padded[1:-1, :-2] & padded[1:-1, 2:]
