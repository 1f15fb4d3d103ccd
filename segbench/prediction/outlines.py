"""Outlines of objects in a large image: run lengths of the bounding box, and where the box lies."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from pycocotools import mask as coco

from segbench.data.coco.masks import RLE, decode, encode

Region = tuple[slice, slice]
"""Rows and columns of the image."""


@dataclass(frozen=True)
class Outline:
    """A mask in an image."""

    top: int
    left: int
    inside: RLE
    """Run lengths of the bounding box of the mask."""

    @property
    def region(self) -> Region:
        """The bounding box."""
        height, width = self.inside["size"]
        return slice(self.top, self.top + height), slice(self.left, self.left + width)


def outlines(masks: np.ndarray, top: int, left: int) -> list[Outline]:
    """Return the outlines of N x h x w bool masks, none of them empty, with their corner at `top`, `left`."""
    found = []
    for mask, rows, columns in zip(masks, np.any(masks, 2), np.any(masks, 1)):
        (y0, y1), (x0, x1) = (np.flatnonzero(used)[[0, -1]] + (0, 1) for used in (rows, columns))
        found.append(Outline(top + int(y0), left + int(x0), encode(mask[y0:y1, x0:x1])))
    return found


def common(a: Region, b: Region) -> Region | None:
    """Return the region that two regions share; None if there is none."""
    both = [slice(max(p.start, q.start), min(p.stop, q.stop)) for p, q in zip(a, b)]
    return (both[0], both[1]) if all(s.start < s.stop for s in both) else None


def hull(regions: Sequence[Region]) -> Region:
    """Return the smallest region that holds all regions."""
    rows, columns = (
        slice(min(r[axis].start for r in regions), max(r[axis].stop for r in regions)) for axis in (0, 1)
    )
    return rows, columns


def seen_in(outline: Outline, region: Region) -> RLE:
    """Return the part of a mask in a region, as run lengths of the region."""
    shape = region[0].stop - region[0].start, region[1].stop - region[1].start
    both = common(outline.region, region)
    if both is None:
        return framed(np.zeros((0, 0), bool), 0, 0, shape)
    rows, columns = both
    part = decode(outline.inside)[
        rows.start - outline.top : rows.stop - outline.top,
        columns.start - outline.left : columns.stop - outline.left,
    ]
    return framed(part, rows.start - region[0].start, columns.start - region[1].start, shape)


def union(members: Sequence[Outline], shape: tuple[int, int]) -> RLE:
    """Return the union of masks as run lengths of the image of `shape` (height, width)."""
    rows, columns = hull([m.region for m in members])
    whole = np.zeros((rows.stop - rows.start, columns.stop - columns.start), bool)
    for member in members:
        y, x = member.region
        whole[
            y.start - rows.start : y.stop - rows.start, x.start - columns.start : x.stop - columns.start
        ] |= decode(member.inside)
    return framed(whole, rows.start, columns.start, shape)


def framed(mask: np.ndarray, top: int, left: int, shape: tuple[int, int]) -> RLE:
    """Return the run lengths of an image that holds a mask at `top`, `left` and is empty elsewhere.

    The image itself is never made, so that the cost is that of the mask.

    Args:
        mask: h x w bool.
        top, left: position of the mask in the image.
        shape: height and width of the image.
    """
    # COCO counts along columns; positions where a run starts or ends, column by column
    edges = np.diff(np.pad(mask, ((1, 1), (0, 0))).astype(np.int8), axis=0)
    column, start = np.nonzero(edges.T == 1)
    _, end = np.nonzero(edges.T == -1)
    offset = (left + column) * shape[0] + top
    bounds = np.stack([offset + start, offset + end], 1).ravel()
    joined = bounds[1:-1:2] == bounds[2::2]  # a run that ends a column and goes on in the next one
    keep = np.ones(len(bounds), bool)
    keep[1:-1] = ~np.repeat(joined, 2)
    counts = np.diff(bounds[keep], prepend=0, append=shape[0] * shape[1])
    if counts[-1] == 0:  # the last pixel is set
        counts = counts[:-1]
    document: Any = {"size": list(shape), "counts": counts.tolist()}
    found = coco.frPyObjects(document, *shape)
    return {"size": list(shape), "counts": found["counts"].decode()}
