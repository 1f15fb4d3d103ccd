"""Branching vessels on an unevenly lit fundus, one channel: semantic truth of one class.

Truth: all vessels, down to the thinnest one, inside of the round field of view. The blurred vessels of the
deeper layer, bleedings, exudates and the optic disc are distractors.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import count
from typing import Any

import numpy as np
from PIL import Image, ImageFilter

from segbench.contract.view import Category
from segbench.data.dataset import Archives, Converted
from segbench.data.generated.scene import (
    FINE,
    Size,
    around,
    at_centres,
    coordinates,
    develop,
    generate,
    noise,
)
from segbench.data.generated.scene import Options as Options  # what `convert` takes

VESSEL = Category(id=1, name="vessel", isthing=False, color=(220, 50, 60))


def convert(archives: Archives, options: dict[str, Any]) -> Converted:
    """Generate the dataset. Options: see `Options`."""
    return generate(options, [VESSEL], True, draw)


def draw(rng: np.random.Generator, size: Size) -> tuple[np.ndarray, dict[str, Any]]:
    """Draw an image (H x W uint8) and its truth `semantic` (H x W int32)."""
    rows, columns = coordinates(size)
    unit = min(size) / 160
    shape = (rows.size, columns.size)
    side = rng.choice([-1, 1])  # the disc is on the left in one eye, on the right in the other
    disc = np.array([rng.uniform(0.35, 0.65) * size[0], (0.5 - side * rng.uniform(0.25, 0.42)) * size[1]])

    light = 0.55 + 0.05 * noise(rng, shape, 70 * unit * FINE) + 0.018 * noise(rng, shape, 12 * unit * FINE, 3)
    lit_row, lit_column = rng.uniform(0.3, 0.7, 2) * size
    light -= rng.uniform(0.1, 0.3) * ((rows - lit_row) ** 2 + (columns - lit_column) ** 2) / (90 * unit) ** 2
    macula = disc + np.array([rng.normal(0, 5), side * 62]) * unit
    fall_off = [np.exp(-(((axis - at) / (13 * unit)) ** 2)) for axis, at in zip((rows, columns), macula)]
    light -= rng.uniform(0.06, 0.14) * fall_off[0] * fall_off[1]
    _add_plate(light, size, disc, rng.uniform(9, 12) * unit, 1.5 * unit, 0.3)
    _add_plate(light, size, disc + rng.normal(0, 1.5 * unit, 2), 5 * unit, 1.5 * unit, 0.08)

    deep = _grow(rng, rng.uniform(0.3, 0.7, 2) * size, side, size, unit, mains=4, thinnest=1.2 * unit)
    _, strength, _ = _rasterise(*deep, shape)
    light -= rng.uniform(0.03, 0.09) * _blur(strength, 2.2 * unit)
    _add_lesions(rng, light, size, unit)

    vessels = _grow(rng, disc, side, size, unit, mains=6, thinnest=0.6 * unit)
    distance, strength, radius = _rasterise(*vessels, shape)
    inside = distance < 1
    profile = strength * np.sqrt(np.clip(1 - distance**2, 0, 1)) ** 0.6
    profile *= 1 - 0.45 * np.exp(-((distance / 0.3) ** 2)) * (radius > 1.7 * unit)  # reflex on wide vessels
    light *= 1 - rng.uniform(0.85, 1.3) * _blur(profile, rng.uniform(0.3, 0.6))

    view = min(size) * rng.uniform(0.53, 0.62)
    centre = np.array(size) / 2 + rng.normal(0, 2 * unit, 2)
    view_distance = np.hypot(rows - centre[0], columns - centre[1])
    light = 0.04 + (light - 0.04) * np.clip((view - view_distance) / unit, 0, 1)

    light *= rng.uniform(0.9, 1.4)
    semantic = at_centres(inside & (view_distance < view)).astype(np.int32)
    return develop(rng, light, rng.uniform(0.008, 0.025)), {"semantic": semantic}


@dataclass
class _Branch:
    """A vessel to grow. `heading`: in radians, 0 points from the disc to the macula."""

    start: np.ndarray
    heading: float
    radius: float
    strength: float
    clear: float
    """Length over which it may cross other vessels, to leave its parent or the disc."""


def _grow(
    rng: np.random.Generator,
    disc: np.ndarray,
    side: int,
    size: Size,
    unit: float,
    mains: int,
    thinnest: float,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Grow trees of vessels that start at the disc and bend towards the macula.

    The widest branches grow first. A branch ends where it meets an earlier one.

    Returns:
        Points (N x 2), radii and strengths.
    """
    cell = 2.6 * unit
    occupied = np.zeros([int(n / cell) + 5 for n in size], bool)  # two more cells beyond each border
    order = count()
    waiting = [(-b.radius, next(order), b) for b in _mains(rng, disc, mains, unit)]
    heapq.heapify(waiting)
    grown = []
    while waiting:
        branch = heapq.heappop(waiting)[-1]
        path, angles, radii, travelled = _path(rng, branch, side, unit, thinnest)
        cells = (path / cell + 2).astype(int)
        inside = np.clip(cells, 0, np.array(occupied.shape) - 1)
        met = occupied[inside[:, 0], inside[:, 1]] & (travelled > branch.clear)
        blocked = met | (cells[:, 0] != inside[:, 0]) | (cells[:, 1] != inside[:, 1])
        end = int(blocked.argmax()) if blocked.any() else len(path)
        if end == 0 or travelled[end - 1] < 4 * unit:
            continue
        occupied[inside[:end, 0], inside[:end, 1]] = True
        grown.append(
            (path[:end], radii[:end], branch.strength * np.clip(0.4 + 0.32 * radii[:end] / unit, 0, 1))
        )
        if branch.radius > 1.02 * thinnest:
            for at, turn, share in _forks(rng, travelled[:end], unit, at_end=end == len(path)):
                radius = max(radii[at] * share, thinnest)
                clear = 3.5 * unit + 2.5 * radius
                child = _Branch(path[at], angles[at] + turn, radius, branch.strength, clear)
                heapq.heappush(waiting, (-radius, next(order), child))
    points, all_radii, all_strengths = (np.concatenate(parts) for parts in zip(*grown))
    return points, all_radii, all_strengths


def _mains(rng: np.random.Generator, disc: np.ndarray, number: int, unit: float) -> Iterator[_Branch]:
    """Yield the roots, alternating up and down: four arcades towards the macula, then two away from it."""
    sign = rng.choice([-1, 1])
    for i in range(number):
        sign = -sign
        vein = i // 2 % 2 == 0
        if i < 4:
            heading = sign * rng.uniform(0.75, 1.6)
            radius = rng.uniform(2.0, 2.7) if vein else rng.uniform(1.4, 2.0)
        else:
            heading, radius = np.pi + sign * rng.uniform(0.2, 0.9), rng.uniform(1.1, 1.6)
        start = disc + rng.normal(0, 1.5 * unit, 2)
        yield _Branch(start, heading, radius * unit, 0.5 if vein else 0.38, clear=16 * unit)


def _path(
    rng: np.random.Generator, branch: _Branch, side: int, unit: float, thinnest: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Draw a centre line (N x 2), its angles and radii, and the length up to each point."""
    step = 0.6 * unit
    length = rng.uniform(32, 60) * branch.radius + 10 * unit
    travelled = np.arange(1, int(length / step)) * step
    angles = branch.heading + np.cumsum(rng.normal(0, 0.05, travelled.size))
    angles += 0.22 * np.sin(travelled / unit / rng.uniform(3, 8) + rng.uniform(0, 6))
    if abs(branch.heading) < 2:
        angles -= branch.heading * (1 - np.exp(-travelled / (95 * unit)))
    path = branch.start + np.cumsum(np.stack([np.sin(angles), side * np.cos(angles)], axis=1), axis=0) * step
    return path, angles, np.maximum(branch.radius * (1 - 0.4 * travelled / length), thinnest), travelled


def _forks(
    rng: np.random.Generator, travelled: np.ndarray, unit: float, at_end: bool
) -> Iterator[tuple[int, float, float]]:
    """Draw the forks of a branch: index of the point, turn in radians, share of the radius there."""
    turn = rng.choice([-1, 1])
    position = rng.uniform(3, 12) * unit
    while position < travelled[-1]:
        turn = -turn
        yield int(np.searchsorted(travelled, position)), turn * rng.uniform(0.5, 1.1), rng.uniform(0.4, 0.75)
        position += rng.uniform(5, 16) * unit
    if at_end:
        for turn in (-1, 1):
            yield -1, turn * rng.uniform(0.3, 0.6), rng.uniform(0.7, 0.9)


def _rasterise(
    points: np.ndarray, radii: np.ndarray, strengths: np.ndarray, shape: Size
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return maps of samples: distance to the centre line in radii (1 = wall), strength, radius."""
    distance = np.full(shape[0] * shape[1], 9.0, np.float32)
    strength, radius = np.zeros_like(distance), np.zeros_like(distance)
    rows, columns = (points * FINE).T.astype(np.float32)
    fine_radii, strengths = (radii * FINE).astype(np.float32), strengths.astype(np.float32)
    reach = np.ceil(fine_radii).astype(int)
    for r in np.unique(reach):
        one = np.flatnonzero(reach == r)[:, None]
        down, right = (axis.ravel() for axis in np.mgrid[-r : r + 1, -r : r + 1])
        row, column = np.floor(rows[one]).astype(int) + down, np.floor(columns[one]).astype(int) + right
        squared = (row + 0.5 - rows[one]) ** 2 + (column + 0.5 - columns[one]) ** 2
        near = (squared < fine_radii[one] ** 2) & (row >= 0) & (row < shape[0])
        near &= (column >= 0) & (column < shape[1])
        which = np.broadcast_to(one, near.shape)[near]
        flat = row[near] * shape[1] + column[near]
        np.minimum.at(distance, flat, np.sqrt(squared[near]).astype(np.float32) / fine_radii[which])
        np.maximum.at(strength, flat, strengths[which])
        np.maximum.at(radius, flat, fine_radii[which] / FINE)
    return distance.reshape(shape), strength.reshape(shape), radius.reshape(shape)


def _add_lesions(rng: np.random.Generator, light: np.ndarray, size: Size, unit: float) -> None:
    """Add dark bleedings and clusters of bright exudates, in place."""
    for _ in range(rng.integers(0, 5)):
        bleeding = rng.uniform(1.2, 3.2) * unit
        _add_plate(light, size, rng.uniform(0.15, 0.85, 2) * size, bleeding, unit, -rng.uniform(0.08, 0.16))
    for _ in range(rng.integers(0, 3)):
        cluster = rng.uniform(0.2, 0.8, 2) * size
        for _ in range(rng.integers(3, 9)):
            centre = cluster + rng.normal(0, 6 * unit, 2)
            _add_plate(light, size, centre, rng.uniform(0.5, 1.3) * unit, unit, rng.uniform(0.1, 0.25))


def _add_plate(
    light: np.ndarray, size: Size, centre: np.ndarray, radius: float, edge: float, height: float
) -> None:
    """Add a disc with a soft edge, in place."""
    window, down, right = around(size, centre, radius + edge)
    light[window] += height * np.clip((radius - np.hypot(down, right)) / edge + 0.5, 0, 1)


def _blur(fine: np.ndarray, pixels: float) -> np.ndarray:
    blurred = Image.fromarray((fine * 255).astype(np.uint8)).filter(ImageFilter.GaussianBlur(pixels * FINE))
    return np.asarray(blurred, np.float32) / 255
