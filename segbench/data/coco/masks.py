"""Masks in the form that COCO files hold them: polygons or run lengths."""

from __future__ import annotations

import math
from collections.abc import Container, Mapping, Sequence
from typing import Any

import numpy as np
from PIL import Image
from pycocotools import mask as coco

RLE = dict[str, Any]
"""COCO's compressed run lengths: `size` [height, width] and `counts` as a string."""
Segmentation = RLE | list[list[float]]


def encode(mask: np.ndarray) -> RLE:
    """H x W bool -> run lengths."""
    return _text(coco.encode(np.asfortranarray(mask, dtype=np.uint8)))


def decode(rle: RLE) -> np.ndarray:
    """Run lengths -> H x W bool."""
    return coco.decode(rle).astype(bool)


def standardise(segmentation: Any, height: int, width: int) -> Segmentation:
    """A valid COCO segmentation of an H x W image: polygons stay polygons, all else becomes run lengths.

    segmentation: polygons, run lengths (compressed or not), or an H x W bool array. Polygons of fewer than
    three points have no area and are left out. pycocotools trusts its input, reads beyond short run lengths
    and takes unbounded memory for far points, so everything is checked here: ValueError says what is wrong.
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
    """Whether a COCO segmentation is more than nothing: run lengths, or a polygon of three points.

    Programs write [], null or two points for objects with a box alone. All else is for `standardise`.
    """
    if type(segmentation) is list:
        return any(type(part) is not list or len(part) >= 6 for part in segmentation)
    return bool(segmentation)


def scaled(segmentation: Segmentation, size: tuple[int, int], new: tuple[int, int]) -> Segmentation:
    """What `standardise` returned for an image of `size` (height, width), at a new one; run lengths by
    nearest neighbour."""
    if isinstance(segmentation, dict):
        return encode(resized(decode(segmentation), new))
    factors = new[1] / size[1], new[0] / size[0]
    return [[value * factors[k % 2] for k, value in enumerate(part)] for part in segmentation]


def resized(values: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """A mask or map of ids at a new size, by nearest neighbour."""
    return np.asarray(Image.fromarray(values).resize(size[::-1], Image.Resampling.NEAREST))


def to_rle(segmentation: Segmentation, height: int, width: int) -> RLE:
    """What `standardise` returned -> run lengths; several polygons are joined."""
    if isinstance(segmentation, dict):
        return segmentation
    if not segmentation:
        return encode(np.zeros((height, width), bool))
    return _text(coco.merge(coco.frPyObjects(segmentation, height, width)))


def outside(segmentation: Segmentation, height: int, width: int) -> str | None:
    """Where polygons lie that have no point inside of the image; None for others."""
    if isinstance(segmentation, dict) or not segmentation:
        return None
    xs = [x for polygon in segmentation for x in polygon[0::2]]
    ys = [y for polygon in segmentation for y in polygon[1::2]]
    if max(xs) > 0 and min(xs) < width and max(ys) > 0 and min(ys) < height:
        return None
    return f"x {min(xs):g} to {max(xs):g}, y {min(ys):g} to {max(ys):g}"


def area(rle: RLE) -> int:
    return int(coco.area(rle))


def areas(rles: Sequence[RLE]) -> np.ndarray:
    """Pixels of each mask; pycocotools 2.0.11 itself overflows on more than 255 masks at once."""
    return np.concatenate([np.zeros(0), *(coco.area(rles[i : i + 255]) for i in range(0, len(rles), 255))])


def bbox(rle: RLE) -> list[float]:
    """x, y, width, height."""
    return [float(v) for v in coco.toBbox(rle)]


def objects_of_map(
    ids: np.ndarray, category_of: Mapping[int, int], crowd: Container[int] = ()
) -> list[dict[str, Any]]:
    """COCO annotations (run lengths) of the objects in an H x W map, in the order of `category_of`.

    category_of: object id in the map -> category id; ids that it lacks are left out.
    """
    flat = ids.T.ravel()  # run lengths go down the columns
    starts = np.flatnonzero(np.append(True, flat[1:] != flat[:-1]))
    ends = np.append(starts[1:], flat.size)
    order = np.argsort(flat[starts], kind="stable")  # runs by object, down the columns within each
    values, spans = flat[starts][order], np.stack([starts, ends], axis=1)[order]
    keys = np.array([*category_of], np.int64)
    places = np.searchsorted(values, [keys, keys + 1]).T.tolist()
    objects = []
    for (k, category), (first, last) in zip(category_of.items(), places):
        runs = spans[first:last]
        counts = np.diff(runs.ravel(), prepend=0, append=flat.size).tolist()
        if not counts[-1]:
            counts.pop()  # as COCO writes it: no empty run at the end
        rle = coco.frPyObjects({"size": list(ids.shape), "counts": counts}, *ids.shape)
        objects.append({"category_id": category, "segmentation": _text(rle), "iscrowd": int(k in crowd)})
    return objects


def paint(target: np.ndarray, rle: RLE, value: int) -> None:
    """Write `value` into `target`, an H x W array in column order, wherever the mask is."""
    flat = target.reshape(-1, order="F")
    assert np.shares_memory(flat, target)
    edges = np.cumsum(_run_lengths(rle["counts"].encode())).tolist()
    for start, end in zip(edges[0::2], edges[1::2]):
        flat[start:end] = value


def pixels(packed: Sequence[bytes]) -> np.ndarray:
    """Sum of the run lengths of each mask, which pycocotools trusts; -1 where the last length is cut off."""
    value, edges, whole = _differences(packed)
    number = np.diff(edges)
    place = np.arange(len(value)) - np.repeat(edges[:-1], number)
    times = np.where(place == 0, 1, (np.repeat(number, number) - place + 1) // 2)
    return np.where(whole, np.add.reduceat(value * times, edges[:-1]), -1)


def _text(rle: RLE) -> RLE:
    return {"size": [int(n) for n in rle["size"]], "counts": rle["counts"].decode()}


def _is_near(points: list[Any], height: int, width: int) -> bool:
    """Whether all is well, in a tenth of the time that it takes to find what is not."""
    axes = (points[0::2], width), (points[1::2], height)
    return (
        set(map(type, points)) in ({int}, {float}, {int, float})
        and all(-extent <= min(values) and max(values) <= 2 * extent for values, extent in axes)
        and math.isfinite(sum(points))
    )


def _checked_polygon(points: Any, height: int, width: int) -> list[float]:
    if not isinstance(points, list) or len(points) % 2:
        raise ValueError("a polygon that is no list of x, y pairs")
    if _is_near(points, height, width):
        return points
    for value, extent in zip(points, [width, height] * (len(points) // 2)):
        if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
            raise ValueError(f"polygon coordinate {value!r} is no number")
        if not -extent <= value <= 2 * extent:
            raise ValueError(f"polygon coordinate {value} lies far outside of the image ({width}x{height})")
    return points


def _checked_rle(rle: dict[str, Any], height: int, width: int) -> RLE:
    size, counts = rle.get("size"), rle.get("counts")
    if size != [height, width]:
        raise ValueError(f"run lengths of size {size}, image of size {[height, width]} (height, width)")
    if isinstance(counts, str | bytes):
        counts = _run_lengths(counts.encode() if isinstance(counts, str) else counts).tolist()
    if not isinstance(counts, list) or not all(isinstance(n, int) and n >= 0 for n in counts):
        raise ValueError("run lengths that are neither a list of counts nor a string")
    if sum(counts) != height * width:
        raise ValueError(f"run lengths that add up to {sum(counts)} of {height * width} pixels")
    return _text(coco.frPyObjects({"size": size, "counts": counts}, height, width))


def _run_lengths(packed: bytes) -> np.ndarray:
    """Run lengths of one mask; ValueError where the last is cut off."""
    if not packed:
        return np.zeros(0, np.int64)
    value, _, whole = _differences([packed])
    if not whole.all():
        raise ValueError("run lengths that add up to no size, as the last is cut off")
    value[2::2], value[1::2] = np.cumsum(value[2::2]), np.cumsum(value[1::2])
    return value


_LONGEST = 7
"""Characters of a length: with more it would be beyond any image."""


def _differences(packed: Sequence[bytes]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(numbers of all masks, edges of each mask's numbers, whether each mask's last number is whole).

    COCO's packing: 5 bits a character, lowest first, and bit 6 says that more follow. The first three numbers
    are run lengths; from the fourth on, each is the difference to the length before the last.
    """
    texts = [text or b" " for text in packed]  # a blank is a length that is cut off
    stops = np.cumsum([len(text) for text in texts])
    char = np.frombuffer(b"".join(texts), np.uint8) - np.uint8(48)
    last = (char & 0x20) == 0
    last[stops - 1] = True
    ends = np.flatnonzero(last)
    lengths = np.diff(ends, prepend=-1)
    value = np.where(char[ends] & 0x10, -1 << 5, 0)
    for k in range(min(int(lengths.max()), _LONGEST)):  # from the last character on
        more = np.flatnonzero(lengths > k) if k else slice(None)
        value[more] = (value[more] << 5 if k else value) + (char[ends[more] - k] & 0x1F)
    edges = np.searchsorted(ends, np.append(0, stops))
    whole = (char[stops - 1] & 0x20 == 0) & (np.maximum.reduceat(lengths, edges[:-1]) <= _LONGEST)
    return value, edges, whole
