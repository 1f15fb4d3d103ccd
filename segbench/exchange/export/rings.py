"""The outline of a mask as one ring of corners, for formats that have one polygon for each object."""

from __future__ import annotations

from collections import defaultdict

import numpy as np


def ring(mask: np.ndarray) -> list[tuple[int, int]]:
    """Return the outline of a mask, along the edges of its pixels, as x and y of its corners.

    Several parts, and holes, are joined by lines that lead there and back on the same way, so that they
    enclose no area. A program that fills by the even-odd rule gets the same pixels.

    Args:
        mask: H x W bool, not empty.
    """
    first, *others = _rings(mask)
    joined = [*first]
    for other in others:
        joined += [first[0], *other, other[0]]
    return [*joined, first[0]] if others else joined


def _rings(mask: np.ndarray) -> list[list[tuple[int, int]]]:
    """Return the closed outlines of a mask. Horizontal and vertical edges alternate along each.

    Corners are where an odd number of the four pixels around a point are set and, as two corners at one
    point, where two pixels touch only there. Along a row or column of points, every second pair of corners is
    an edge.
    """
    padded = np.pad(mask.astype(np.int8), 1)
    around = [padded[:-1, :-1], padded[:-1, 1:], padded[1:, :-1], padded[1:, 1:]]
    count = around[0] + around[1] + around[2] + around[3]
    touching = (count == 2) & (around[0] == around[3])
    number = (count % 2) + 2 * touching
    rows, columns = np.nonzero(number)
    twice = number[rows, columns]
    y, x = np.repeat(rows, twice).tolist(), np.repeat(columns, twice).tolist()
    across, down = _partners(y, x), _partners(x, y)
    seen = [False] * len(x)
    found = []
    for start in range(len(x)):
        path, corner, horizontal = [], start, True
        while not seen[corner]:
            seen[corner] = True
            path.append((x[corner], y[corner]))
            corner = across[corner] if horizontal else down[corner]
            horizontal = not horizontal
        if path:
            found.append(path)
    return found


def _partners(line: list[int], place: list[int]) -> list[int]:
    """Return the other end of the edge at each corner; `line` and `place` are its row and column."""
    lines: dict[int, list[int]] = defaultdict(list)
    for corner in sorted(range(len(line)), key=lambda c: (line[c], place[c])):
        lines[line[corner]].append(corner)
    partner = [0] * len(line)
    for corners in lines.values():
        for a, b in zip(corners[::2], corners[1::2]):
            partner[a], partner[b] = b, a
    return partner
