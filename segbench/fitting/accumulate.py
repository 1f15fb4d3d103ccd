"""Rule `accumulate`: divide a batch until a part fits into the memory."""

from __future__ import annotations

import math

from segbench.fitting.situation import Derived, Situation


def accumulate(given: Situation) -> list[Derived]:
    """Return `accumulate`: the smallest number of parts, at most one for each image of a device, that have no
    more than `fit.pixels` pixels on a device."""
    recipe = given.recipe
    if given.states("accumulate"):
        return []
    if crop := recipe.augment.crop_size:
        area = float(crop[0] * crop[1])
    else:
        statistics = given.statistics
        area = statistics.short_side.p95 * statistics.long_side.p95 * recipe.augment.scale[1] ** 2
    own = math.ceil(recipe.batch_size / recipe.gpus)
    parts = min(recipe.batch_size // recipe.gpus, math.ceil(own * area / given.fit.pixels))
    if parts <= 1:
        return []
    reason = f"{own} images of {area / 1e6:.3g} million pixels on a device"
    return [Derived("accumulate", parts, "accumulate", reason)]
