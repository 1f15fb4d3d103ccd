"""Pixels near the contours of a class map, and contours of two maps that are near each other.

All classes are compared at once: a class is a bit, or a pattern of bits.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from segbench.evaluation.semantic import bits
from segbench.evaluation.semantic.maps import look_up


def edges(maps: tuple[np.ndarray, np.ndarray], width: int) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Return (bands, contours) of two maps without void, as `bits`.

    A band holds the pixels within `width` of another class or of the image's border, a contour the pixels
    next to another class.

    A window holds two classes if a square of 2 x 2 pixels in it does. Windows that reach beyond the end of a
    row meet the next row instead, but these pixels are in the band anyway.
    """
    shape, size = maps[0].shape, maps[0].size
    line = shape[1] if shape[1] > 1 else size  # a single column is like a row
    words = -(-(size + 2 * width * (line + 1)) // 64) + 64
    beside, below = np.zeros((2, 2 * words), np.uint64)  # both maps, apart, so that no window meets both
    differs = np.zeros(line + 1 + size, bool)  # a square is found at its last pixel
    inside = differs[line + 1 :]
    for first, labels in zip((0, words), maps):
        flat = labels.ravel()
        for found, step in ((beside, 1), (below, line)):  # the next pixel, and the one below, differ
            np.not_equal(flat[step:], flat[:-step], out=inside[: size - step])
            inside[size - step :] = False
            differs[::line] = False  # no square ends in the first column
            packed = bits.pack(differs)
            found[first : first + len(packed)] = packed
    met = bits.grown(beside, line)
    met |= below[: len(met)]
    sets, span = [], 1
    for distance in (1, width):
        while span < 2 * distance:
            step = min(span, 2 * distance - span)
            met = bits.grown(bits.grown(met, step), step * line)
            span += step
        back = (distance - 1) * (line + 1)
        sets.append([bits.later(met[first:], back, size) for first in (0, words)])
    contours, bands = sets
    return [band | _frame(shape, width) for band in bands], contours


@lru_cache(8)
def _frame(shape: tuple[int, int], width: int) -> np.ndarray:
    """Return the pixels of an image within `width` of its border, as `bits`."""
    mask = np.zeros(shape, bool)
    mask[:width] = mask[-width:] = mask[:, :width] = mask[:, -width:] = True
    return bits.pack(mask.ravel())


_WORDS = np.array([word for word in range(256) if word.bit_count() == 4], np.uint8)
"""The 70 bytes with four bits set. The bitwise or of two of them has more bits."""


def beside_void(
    labels: np.ndarray, present: np.ndarray, known: np.ndarray, width: int
) -> tuple[np.ndarray, np.ndarray]:
    """Return (band, contour) as `edges` does, both of known pixels. What lies across void counts.

    Each label in `present` is replaced by a bit pattern. The bitwise or over a window equals the pixel's own
    pattern only if the window holds no other label. `known` is H x W bool, False on void.
    """
    words: np.ndarray = _WORDS[: len(present)]
    if len(words) < len(present):
        number = np.arange(len(present), dtype=np.uint32)
        words = number | ~number << 16  # the number and its complement
    table = np.zeros(np.iinfo(labels.dtype).max + 1, words.dtype)
    table[present] = words
    own = look_up(table, labels) * known
    height, line = labels.shape
    stride = line + 2 * width  # no window reaches into the next row's pixels
    padded = np.zeros((height + 2 * width + 1, stride), words.dtype)
    padded[width : width + height, width : width + line] = own
    met, span, found = padded.ravel(), 1, []
    for distance in (1, width):
        met, span = _spread(met, stride, span, 2 * distance + 1), 2 * distance + 1
        start = (width - distance) * (stride + 1)
        found.append(met[start : start + height * stride].reshape(height, stride)[:, :line] != own)
    contour, band = found
    band[:width] = band[-width:] = band[:, :width] = band[:, -width:] = True
    return bits.pack((band & known).ravel()), bits.pack((contour & known).ravel())


def hits(
    classes_at: tuple[np.ndarray, np.ndarray],
    places: tuple[np.ndarray, np.ndarray],
    shape: tuple[int, int],
    shared: np.ndarray,
    tolerance: int,
) -> list[np.ndarray]:
    """Return which contour pixels of each map have one of their class near them in the other map.

    64 classes are compared at once, one bit each.

    Args:
        classes_at: (truth, prediction) class indices of the contour pixels.
        places: (truth, prediction) positions of the contour pixels in the raveled map.
        shape: height and width.
        shared: the classes that have a contour in both maps.
        tolerance: distance in pixels at which contour pixels match.
    """
    found = [np.zeros(len(at), bool) for at in places]
    height, line = shape
    stride = line + tolerance  # no window reaches into the next row's pixels
    windows = [at + at // line * tolerance for at in places]
    for start in range(0, len(shared), 64):
        group = shared[start : start + 64]
        kind = np.min_scalar_type(2 ** len(group) - 1)
        bit = np.zeros(np.iinfo(classes_at[0].dtype).max + 1, kind)
        bit[group] = np.left_shift(np.ones(len(group), kind), np.arange(len(group), dtype=kind))
        own = [bit.take(c) for c in classes_at]
        for side, other in ((0, 1), (1, 0)):
            contour = np.zeros((height + 2 * tolerance) * stride + 2 * tolerance, kind)
            contour[tolerance * (stride + 1) :][windows[other]] = own[other]
            near = _spread(contour, stride, 1, 2 * tolerance + 1)
            found[side] |= (near.take(windows[side]) & own[side]) != 0
    return found


def _spread(values: np.ndarray, stride: int, span: int, size: int) -> np.ndarray:
    """Return the bitwise or over the square of `size` x `size` pixels that begins at each pixel.

    Args:
        values: raveled map (numpy is faster on long arrays than on rows), in which an entry already holds a
            square of `span` x `span` pixels.
        stride: length of a row.
        span, size: lengths of the squares in pixels.
    """
    while span < size:
        step = min(span, size - span)
        values = values[:-step] | values[step:]
        values = values[: -step * stride] | values[step * stride :]
        span += step
    return values
