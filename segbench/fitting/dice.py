"""Rule `dice`: cross-entropy alone neglects classes of few pixels."""

from __future__ import annotations

from segbench.fitting.situation import Derived, Situation

RARE = 0.25
"""Share of the pixels below which a class is rare."""
COMMON = 0.5
"""Share of the images in which a class must occur: of a class that a batch lacks, Dice says nothing."""


def dice(given: Situation) -> list[Derived]:
    """Return `options.loss`: Dice beside cross-entropy, with equal weights, if at least half of the classes
    without the background cover less than a quarter of the pixels and occur in half of the images."""
    if not given.needs.dice or given.states("options.loss"):
        return []
    classes = [c for c in given.statistics.classes if c.id and c.pixels]
    rare = [c for c in classes if c.pixels is not None and c.pixels < RARE and c.images >= COMMON]
    if not rare or len(rare) < len(classes) / 2:
        return []
    shares = sorted(c.pixels for c in rare if c.pixels is not None)
    reason = f"{len(rare)} of {len(classes)} classes cover {shares[0]:.2g} to {shares[-1]:.2g} of the pixels"
    return [Derived("options.loss", {"cross_entropy": 1.0, "dice": 1.0}, "dice", reason)]
