"""Rule `crop`: as many pixels as the recipe allows, in the shape of the images."""

from __future__ import annotations

import math

from segbench.fitting.scale import RESIZES, view_of
from segbench.fitting.situation import Derived, Situation

GRID = 16
"""Sides are multiples of it: most networks have such a stride."""
ASPECT = 2.0
"""Largest ratio of the sides."""
GROWTH = 1.5
"""Largest factor by which the side grows."""


def crop(given: Situation) -> list[Derived]:
    """Return `augment.crop`.

    Its area is the square of `fit.side`, and its sides have the ratio of the median image's, at most 2. It is
    a square if there are images of both orientations, or if images are turned by 90 degrees. The sides are
    multiples of 16, and not larger than the largest image needs. If a square would show less of images that
    cannot be shown smaller than `view_of` asks for, it grows up to 1.5 times the side.
    """
    if given.states("augment.crop") or any(given.states(f"augment.{key}") for key in RESIZES[1:]):
        return []
    sides, reason = sides_of(given)
    return [Derived("augment.crop", sides, "crop", reason)]


def sides_of(given: Situation) -> tuple[tuple[int, int], str]:
    """Return height and width, and what decided them."""
    statistics, augment = given.statistics, given.recipe.augment
    side, reason = float(given.fit.side), f"{given.fit.side}² pixels"
    smallest, largest = augment.scale
    factor = math.sqrt(smallest * largest)
    part, name = view_of(given)
    if factor <= 1 and side < (wanted := part * factor * statistics.side):
        side = min(wanted, GROWTH * side)
        reason = f"{name} of the image's side ({statistics.side:.4g}), shown at {factor:.3g}"
    aspect = statistics.aspect
    upright, wide = aspect.p5 < 1, aspect.p95 > 1
    if (upright and wide) or augment.rotate90:
        ratio, limits = 1.0, (statistics.long_side.max, statistics.long_side.max)
    else:
        ratio = min(max(aspect.p50, 1 / ASPECT), ASPECT)
        limits = statistics.short_side.max, statistics.long_side.max
        limits = limits if wide else limits[::-1]
    height, width = (
        min(max(GRID, GRID * round(wished / GRID)), GRID * math.ceil(largest * limit / GRID))
        for wished, limit in zip((side / ratio**0.5, side * ratio**0.5), limits)
    )
    return (height, width), reason
