"""Rule `scale`: show images at a size at which crops hold whole objects, and small ones stay visible."""

from __future__ import annotations

import math

from segbench.fitting.situation import Derived, Situation

IN_CROP = 0.75
"""Part of the crop's side that three of four objects fit into."""
VIEW = 1 / 2
"""Part of the image's side that a crop shows to networks that are not trained on objects, unless structures
become too thin by it. It is 1 for networks that learn where objects lie in the image."""
COMFORT = 2.0
"""Images are not shown smaller than so many times what the network needs, unless it must see all of them."""
LARGEST = 4.0
"""Largest factor of enlargement."""
RESIZES = ("scale", "resize", "short_sides", "large_scale_jitter", "ratio_range")
"""Keys of `augment` that say at which size images are shown."""
SIDES = ("scale", "short_side", "max_side")
"""Keys of `inference` that say so."""


def scale(given: Situation) -> list[Derived]:
    """Return `augment.scale` and `inference.scale`.

    The factor is the largest up to 1 at which three of four objects fit into 0.75 of the crop's side. A crop
    also shows half of the image's side to networks that are not trained on objects, and all of it where
    `given.whole`. The factor is not so small that the median object or structure falls below twice the size
    that the network needs (that size where `given.whole`), and is above 1 where they are below that size
    itself.
    """
    factor, reason = factor_of(given)
    found = []
    if not any(given.states(f"augment.{key}") for key in RESIZES):
        jitter = tuple(round(factor * part, 3) for part in given.fit.jitter)
        found.append(Derived("augment.scale", jitter, "scale", reason))
        if not any(given.states(f"inference.{key}") for key in SIDES):
            found.append(Derived("inference.scale", round(factor, 3), "scale", reason))
    return found


def view_of(given: Situation) -> tuple[float, str]:
    """Return the part of the image's side that a crop should show, and its name; 0 if objects decide."""
    if given.whole:
        return 1.0, "all"
    return (VIEW, "half") if given.task == "semantic" else (0.0, "")


def factor_of(given: Situation) -> tuple[float, str]:
    """Return the factor, and what decided it."""
    side, objects = given.statistics.side, given.statistics.object_side
    limits = {"": math.inf}
    part, name = view_of(given)
    if part:
        limits[f"{name} of the image's side ({side:.4g}) in the crop"] = given.side / (part * side)
    if objects:
        limits[f"objects of {objects.p75:.4g} in the crop"] = IN_CROP * given.side / objects.p75
    reason, upper = min(limits.items(), key=lambda item: item[1])
    if upper >= 1:
        reason, upper = "objects and surroundings fit into the crop", 1.0
    what, lower = _needed(given)
    if lower > 1:
        return min(lower, LARGEST), f"{what} enlarged to what the network needs"
    if (comfortable := min(1.0, (1 if given.whole else COMFORT) * lower)) > upper:
        return comfortable, f"{what} not shown smaller"
    return upper, reason


def _needed(given: Situation) -> tuple[str, float]:
    """Return what must stay visible, and the factor at which it is as large as the network needs."""
    size = given.statistics.object_size
    if given.task != "semantic" and size:
        return f"objects of {size.p50:.4g}", given.needs.object / size.p50
    if width := given.structure:
        return f"structures of {width:.4g}", given.needs.structure / width
    return "", 0.0
