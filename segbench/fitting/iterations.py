"""Rule `iterations`: more steps for more classes and more images."""

from __future__ import annotations

from segbench.fitting.situation import Derived, Situation

CLASSES, IMAGES, OBJECTS = 2, 100, 5
"""Number of classes, images and objects of an image for which `fit.iterations` are meant."""
LONGEST = 2.5
"""Largest factor on them."""


def iterations(given: Situation) -> list[Derived]:
    """Return `iterations`: `fit.iterations` times a factor from 1 to 2.5.

    The factor is the root of half of the number of classes, times the fourth root of a hundredth of the
    number of images. Unless `fit.equal_iterations`, networks with queries that are trained on objects get it
    times the root of a fifth of the median number of objects of an image, and networks from random weights
    get 2.5.
    """
    base = given.fit.iterations
    if given.states("iterations") or base is None:
        return []
    images, objects = given.statistics.images, given.statistics.objects_per_image.p50
    factor = max(1.0, (given.classes / CLASSES) ** 0.5 * (images / IMAGES) ** 0.25)
    reason = f"{given.classes} classes, {images} images"
    if not given.fit.equal_iterations:
        if not (given.recipe.pretrained or given.recipe.weights or given.recipe.init_from):
            factor, reason = LONGEST, "from random weights"
        elif given.needs.queries and given.task != "semantic" and objects > OBJECTS:
            factor *= (objects / OBJECTS) ** 0.5
            reason += f", {objects:g} objects in an image"
    steps = round(base * min(factor, LONGEST))
    return [Derived("iterations", steps, "iterations", reason)]
