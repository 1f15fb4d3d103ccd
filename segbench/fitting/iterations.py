"""Rule `iterations`: more steps for more classes and more images."""

from __future__ import annotations

from segbench.fitting.situation import Derived, Situation

CLASSES, IMAGES, OBJECTS = 2, 100, 5
"""Number of classes, images and objects of an image for which `fit.iterations` are meant."""
LONGEST = 2.5
"""Largest factor on them."""


def iterations(given: Situation) -> list[Derived]:
    """Return `iterations`: `fit.iterations` times the root of half of the number of classes, the fourth root
    of a hundredth of the number of images and, for networks with queries, the root of a fifth of the median
    number of objects of an image; at least once, at most 2.5 times."""
    base = given.fit.iterations
    if given.states("iterations") or base is None:
        return []
    images, objects = given.statistics.images, given.statistics.objects_per_image.p50
    factor = (given.classes / CLASSES) ** 0.5 * (images / IMAGES) ** 0.25
    reason = f"{given.classes} classes, {images} images"
    if given.needs.queries and given.task != "semantic" and objects > OBJECTS:
        factor = max(factor, 1.0) * (objects / OBJECTS) ** 0.5
        reason += f", {objects:g} objects in an image"
    steps = round(base * min(max(factor, 1.0), LONGEST))
    return [Derived("iterations", steps, "iterations", reason)]
