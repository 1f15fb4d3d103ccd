"""Rule `window`: predict in windows what the network cannot see as a whole."""

from __future__ import annotations

from segbench.fitting.situation import Derived, Situation

LARGE = 8_000_000
"""Pixels of an image, as the network gets it, above which it is divided."""
SIDE = 1024
"""Side of the windows of large images."""


def window(given: Situation) -> list[Derived]:
    """Return `inference.window`.

    It is as large as the crop if the network needs that. Images of more than 8 million pixels, as they are
    fed, are divided into windows of at least 1024 x 1024.
    """
    need = given.needs.window
    if given.states("inference.window") or need == "never":
        return []
    crop = given.recipe.augment.crop_size
    if need == "always" and crop:
        return [Derived("inference.window", crop, "window", "the network sees a crop at a time")]
    statistics, inference = given.statistics, given.recipe.inference
    sized = any(given.states(f"inference.{key}") for key in ("short_side", "max_side"))
    pixels = statistics.short_side.max * statistics.long_side.max * inference.scale**2
    if sized or pixels <= LARGE:
        return []
    height, width = crop or (SIDE, SIDE)
    sides = max(SIDE, height), max(SIDE, width)
    return [Derived("inference.window", sides, "window", f"images of {pixels / 1e6:.3g} million pixels")]
