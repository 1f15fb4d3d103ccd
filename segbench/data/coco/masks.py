"""Masks in COCO's formats: polygons and run lengths (RLE)."""

from __future__ import annotations

import math
from collections.abc import Container, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from PIL import Image
from pycocotools import mask as coco

RLE = dict[str, Any]
"""COCO's compressed run lengths: `size` [height, width] and `counts` as a string."""
Segmentation = RLE | list[list[float]]


def encode(mask: np.ndarray) -> RLE:
    """Encode an H x W bool mask as run lengths."""
    return _text(coco.encode(np.asfortranarray(mask, dtype=np.uint8)))


def decode(rle: RLE) -> np.ndarray:
    """Decode run lengths to an H x W bool mask."""
    return coco.decode(rle).astype(bool)


def decode_at(
    masks: Sequence[RLE], rows: np.ndarray, columns: np.ndarray
) -> Iterator[tuple[tuple[slice, slice], np.ndarray]]:
    """Decode masks at some pixels, without decoding the rest.

    Args:
        masks: run lengths.
        rows, columns: the pixels of the result, each in rising order.

    Yields:
        For each mask: a window of the result that contains it, and its pixels there (h x w bool).
    """
    packed = [rle["counts"].encode() if isinstance(rle["counts"], str) else rle["counts"] for rle in masks]
    for rle, lengths in zip(masks, _run_lengths(packed) if masks else []):
        height, (x, y, width, depth) = rle["size"][0], coco.toBbox(rle).astype(int).tolist()
        top, bottom = np.searchsorted(rows, [y, y + depth]).tolist()
        left, right = np.searchsorted(columns, [x, x + width]).tolist()
        window = np.s_[top:bottom, left:right]
        if top == bottom or left == right:
            yield window, np.zeros((bottom - top, right - left), bool)
            continue
        wanted = columns[left:right]
        first, last = int(wanted[0]), int(wanted[-1]) + 1
        ends = np.cumsum(lengths).clip(first * height, last * height)  # run lengths follow the columns
        inside = np.diff(ends, prepend=first * height)
        strip = np.repeat(np.arange(len(inside)) % 2 == 1, inside).reshape(last - first, height)
        yield window, strip[wanted - first][:, rows[top:bottom]].T


def standardise(segmentation: Any, height: int, width: int) -> Segmentation:
    """Check a segmentation of an H x W image. Polygons stay polygons, all else becomes run lengths.

    pycocotools does not check its input: it reads beyond the end of short run lengths, and needs unbounded
    memory for points that are far away.

    Args:
        segmentation: polygons, run lengths (compressed or not), or an H x W bool array.
        height, width: size of the image.

    Returns:
        A valid segmentation, without polygons of fewer than three points, which have no area.

    Raises:
        ValueError: the segmentation is not valid; the message says why.
    """
    if isinstance(segmentation, np.ndarray):
        if segmentation.shape != (height, width):
            raise ValueError(f"mask of shape {segmentation.shape}, image of shape {(height, width)}")
        return encode(segmentation)
    if isinstance(segmentation, dict):
        return _checked_rle(segmentation, height, width)
    if isinstance(segmentation, list):
        polygons = [_checked_polygon(p, height, width) for p in segmentation]
        return [p for p in polygons if len(p) >= 6]
    raise ValueError(f"segmentation of type {type(segmentation).__name__}")


def has_outline(segmentation: Any) -> bool:
    """Return whether a COCO segmentation has run lengths or a polygon of at least three points.

    Programs write [], null or two points for objects that have only a box. `standardise` checks the rest.
    """
    if type(segmentation) is list:
        return any(type(part) is not list or len(part) >= 6 for part in segmentation)
    return bool(segmentation)


def scaled(segmentation: Segmentation, size: tuple[int, int], new: tuple[int, int]) -> Segmentation:
    """Scale a segmentation from `standardise` to a new image size; run lengths by nearest neighbour.

    Args:
        segmentation: the segmentation.
        size: height and width of its image.
        new: height and width of the new image.
    """
    if isinstance(segmentation, dict):
        return encode(resized(decode(segmentation), new))
    factors = new[1] / size[1], new[0] / size[0]
    return [[value * factors[k % 2] for k, value in enumerate(part)] for part in segmentation]


def resized(values: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Resize a mask or map of ids to `size` (height, width), by nearest neighbour."""
    return np.asarray(Image.fromarray(values).resize(size[::-1], Image.Resampling.NEAREST))


def to_rle(segmentation: Segmentation, height: int, width: int) -> RLE:
    """Convert a segmentation from `standardise` to run lengths: the union of its polygons."""
    if isinstance(segmentation, dict):
        return segmentation
    if not segmentation:
        return encode(np.zeros((height, width), bool))
    return _text(coco.merge(coco.frPyObjects(segmentation, height, width)))


def outside(segmentation: Segmentation, height: int, width: int) -> str | None:
    """Return the position, as text, of polygons that lie outside of the image; None for all others."""
    if isinstance(segmentation, dict) or not segmentation:
        return None
    xs = [x for polygon in segmentation for x in polygon[0::2]]
    ys = [y for polygon in segmentation for y in polygon[1::2]]
    if max(xs) > 0 and min(xs) < width and max(ys) > 0 and min(ys) < height:
        return None
    return f"x {min(xs):g} to {max(xs):g}, y {min(ys):g} to {max(ys):g}"


def area(rle: RLE) -> int:
    """Return the number of pixels of a mask."""
    return int(coco.area(rle))


def areas(rles: Sequence[RLE]) -> np.ndarray:
    """Return the number of pixels of each mask. pycocotools 2.0.11 overflows with more than 255 masks."""
    return np.concatenate([np.zeros(0), *(coco.area(rles[i : i + 255]) for i in range(0, len(rles), 255))])


def bbox(rle: RLE) -> list[float]:
    """Return the box of a mask: x, y, width, height in pixels."""
    return [float(v) for v in coco.toBbox(rle)]


def major_axes(rles: Sequence[RLE]) -> np.ndarray:
    """Return the length of the major axis of each mask in pixels; 0 for an empty one.

    It is the longer axis of the ellipse with the same second moments, as MATLAB's `regionprops` computes it:
    four times the root of the larger eigenvalue of the covariance of its pixels, each a square of side 1.
    """
    found = np.zeros(len(rles))
    for k, rle in enumerate(rles):
        edges = np.cumsum(_run_lengths([rle["counts"].encode()])[0])
        starts, stops = edges[0 : len(edges) // 2 * 2 : 2], edges[1::2]
        if not len(stops) or stops[-1] == starts[0]:
            continue
        x, top, bottom = _columns_of_runs(starts, stops, rle["size"][0])
        number = bottom - top + 1.0
        y = (top + bottom) / 2
        total = number.sum()
        x, y = x - (number @ x) / total, y - (number @ y) / total
        # a run of n pixels has the variance (n * n - 1) / 12 about its middle, and each pixel 1 / 12
        xx = (number @ (x * x)) / total + 1 / 12
        yy = (number @ (y * y + (number * number - 1) / 12)) / total + 1 / 12
        xy = (number @ (x * y)) / total
        found[k] = 4 * math.sqrt((xx + yy) / 2 + math.hypot((xx - yy) / 2, xy))
    return found


def _columns_of_runs(
    starts: np.ndarray, stops: np.ndarray, height: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Cut runs at the ends of columns; return the column, first and last row of each piece."""
    first, last = starts // height, (stops - 1) // height
    pieces = last - first + 1
    run = np.repeat(np.arange(len(starts)), pieces)
    column = first[run] + np.arange(len(run)) - np.repeat(np.cumsum(pieces) - pieces, pieces)
    top = np.where(column == first[run], starts[run] % height, 0)
    bottom = np.where(column == last[run], (stops[run] - 1) % height, height - 1)
    return column.astype(float), top.astype(float), bottom.astype(float)


def objects_of_map(
    ids: np.ndarray, category_of: Mapping[int, int], crowd: Container[int] = ()
) -> list[dict[str, Any]]:
    """Return COCO annotations, with run lengths, of the objects in a map.

    Args:
        ids: H x W map of object ids.
        category_of: object id -> category id. Ids that are missing here are skipped.
        crowd: object ids that are crowds.

    Returns:
        Annotations with `category_id`, `segmentation` and `iscrowd`, in the order of `category_of`.
    """
    flat = ids.T.ravel()  # run lengths follow the columns
    starts = np.flatnonzero(np.append(True, flat[1:] != flat[:-1]))
    ends = np.append(starts[1:], flat.size)
    order = np.argsort(flat[starts], kind="stable")  # runs by object, in column order
    values, spans = flat[starts][order], np.stack([starts, ends], axis=1)[order]
    keys = np.array([*category_of], np.int64)
    places = np.searchsorted(values, [keys, keys + 1]).T.tolist()
    objects = []
    for (k, category), (first, last) in zip(category_of.items(), places):
        runs = spans[first:last]
        counts = np.diff(runs.ravel(), prepend=0, append=flat.size).tolist()
        if not counts[-1]:
            counts.pop()  # COCO writes no empty run at the end
        rle = coco.frPyObjects({"size": list(ids.shape), "counts": counts}, *ids.shape)
        objects.append({"category_id": category, "segmentation": _text(rle), "iscrowd": int(k in crowd)})
    return objects


def paint(target: np.ndarray, rles: Sequence[RLE], values: Sequence[int]) -> None:
    """Set the pixels of each mask to its value, in place and in order.

    Args:
        target: H x W array in column (Fortran) order.
        rles: run lengths of masks of this size.
        values: a value for each.
    """
    if not rles:
        return
    flat = target.reshape(-1, order="F")
    assert np.shares_memory(flat, target)
    for lengths, value in zip(_run_lengths([rle["counts"].encode() for rle in rles]), values, strict=True):
        edges = np.cumsum(lengths).tolist()
        for start, end in zip(edges[0::2], edges[1::2]):
            flat[start:end] = value


def pixels(packed: Sequence[bytes]) -> np.ndarray:
    """Return the sum of the run lengths of each mask, or -1 if its last length is cut off.

    pycocotools does not check that the sum is the size of the image.
    """
    value, edges, whole = _differences(packed)
    number = np.diff(edges)
    place = np.arange(len(value)) - np.repeat(edges[:-1], number)
    times = np.where(place == 0, 1, (np.repeat(number, number) - place + 1) // 2)
    return np.where(whole, np.add.reduceat(value * times, edges[:-1]), -1)


def _text(rle: RLE) -> RLE:
    return {"size": [int(n) for n in rle["size"]], "counts": rle["counts"].decode()}


def _is_near(points: list[Any], height: int, width: int) -> bool:
    """Return whether a polygon is valid, ten times faster than `_checked_polygon` finds what is wrong."""
    axes = (points[0::2], width), (points[1::2], height)
    return (
        set(map(type, points)) in ({int}, {float}, {int, float})
        and all(-extent <= min(values) and max(values) <= 2 * extent for values, extent in axes)
        and math.isfinite(sum(points))
    )


def _checked_polygon(points: Any, height: int, width: int) -> list[float]:
    if not isinstance(points, list) or len(points) % 2:
        raise ValueError("a polygon that is not a list of x, y pairs")
    if _is_near(points, height, width):
        return points
    for value, extent in zip(points, [width, height] * (len(points) // 2)):
        if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
            raise ValueError(f"polygon coordinate {value!r} is not a finite number")
        if not -extent <= value <= 2 * extent:
            raise ValueError(f"polygon coordinate {value} lies far outside of the image ({width}x{height})")
    return points


def _checked_rle(rle: dict[str, Any], height: int, width: int) -> RLE:
    size, counts = rle.get("size"), rle.get("counts")
    if size != [height, width]:
        raise ValueError(f"run lengths of size {size}, image of size {[height, width]} (height, width)")
    if isinstance(counts, str | bytes):
        counts = _run_lengths([counts.encode() if isinstance(counts, str) else counts])[0].tolist()
    if not isinstance(counts, list) or not all(isinstance(n, int) and n >= 0 for n in counts):
        raise ValueError("run lengths that are neither a list of counts nor a string")
    if sum(counts) != height * width:
        raise ValueError(f"run lengths that add up to {sum(counts)} of {height * width} pixels")
    return _text(coco.frPyObjects({"size": size, "counts": counts}, height, width))


def _run_lengths(packed: Sequence[bytes]) -> list[np.ndarray]:
    """Unpack the run lengths of masks. ValueError if the last length of a mask is cut off."""
    value, edges, whole = _differences(packed)
    if not whole[[len(text) > 0 for text in packed]].all():
        raise ValueError("run lengths that do not add up to a size: the last one is cut off")
    found = []
    for text, start, stop in zip(packed, edges[:-1].tolist(), edges[1:].tolist()):
        own = value[start:stop] if text else np.zeros(0, np.int64)
        own[2::2], own[1::2] = np.cumsum(own[2::2]), np.cumsum(own[1::2])
        found.append(own)
    return found


_LONGEST = 7
"""Most characters of a run length: longer ones exceed any image."""


def _differences(packed: Sequence[bytes]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Unpack masks up to the differences between their run lengths.

    COCO packs a number in characters of 5 bits, lowest bits first; bit 6 says that more characters follow.
    The first three numbers are run lengths. From the fourth on, a number is the difference to the run length
    two places before.

    Returns:
        The numbers of all masks, the start of each mask's numbers (and the end of the last), and whether the
        last number of each mask is complete.
    """
    texts = [text or b" " for text in packed]  # a blank reads as a length that is cut off
    stops = np.cumsum([len(text) for text in texts])
    char = np.frombuffer(b"".join(texts), np.uint8) - np.uint8(48)
    last = (char & 0x20) == 0
    last[stops - 1] = True
    ends = np.flatnonzero(last)
    lengths = np.diff(ends, prepend=-1)
    value = np.where(char[ends] & 0x10, -1 << 5, 0)
    for k in range(min(int(lengths.max()), _LONGEST)):  # from the last character to the first
        more = np.flatnonzero(lengths > k) if k else slice(None)
        value[more] = (value[more] << 5 if k else value) + (char[ends[more] - k] & 0x1F)
    edges = np.searchsorted(ends, np.append(0, stops))
    whole = (char[stops - 1] & 0x20 == 0) & (np.maximum.reduceat(lengths, edges[:-1]) <= _LONGEST)
    return value, edges, whole
