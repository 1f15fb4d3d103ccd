"""Rule `iterations`: more steps for more classes and more images."""

from __future__ import annotations

from segbench.fitting.situation import Derived, Situation

CLASSES, IMAGES = 2, 100
"""Number of classes and images for which `fit.iterations` are meant."""
LONGEST = 2.5
"""Largest factor on them."""


def iterations(given: Situation) -> list[Derived]:
    """Return `iterations`: `fit.iterations` times the root of half of the number of classes and the fourth
    root of a hundredth of the number of images; at least once, at most 2.5 times."""
    base = given.fit.iterations
    if given.states("iterations") or base is None:
        return []
    images = given.statistics.images
    factor = (given.classes / CLASSES) ** 0.5 * (images / IMAGES) ** 0.25
    steps = round(base * min(max(factor, 1.0), LONGEST))
    return [Derived("iterations", steps, "iterations", f"{given.classes} classes, {images} images")]
