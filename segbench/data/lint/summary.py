"""Class frequencies and object sizes of a split."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np
from pydantic import BaseModel

from segbench.data.dataset import DatasetInfo
from segbench.data.lint.image import Facts

STEPS = 4
"""Bins of an octave in the histogram of object sizes."""


class ClassSummary(BaseModel):
    """How often a class occurs in a split."""

    pixels: float
    """Share of the pixels that are not void."""
    images: int
    """Number of images with the class."""
    objects: int = 0
    """Number of objects without crowds."""


class SplitSummary(BaseModel):
    """Class frequencies and object sizes of a split."""

    images: int
    groups: int
    """Number of groups; 0 if the images have none."""
    void: float
    """Share of void pixels."""
    classes: dict[str, ClassSummary]
    sizes: dict[int, int] = {}
    """Number of objects by size, the side of a square of the same area, in bins of a fourth of an octave. The
    bin k has sides from 2**(k / 4) pixels."""


def summarise_split(info: DatasetInfo, facts: Sequence[Facts], groups: int) -> SplitSummary:
    """Return the summary of a split from the facts of its images."""
    pixels: Counter[int] = Counter()
    images: Counter[int] = Counter()
    objects: Counter[int] = Counter()
    sizes: Counter[int] = Counter()
    for one in facts:
        pixels.update(one.pixels)
        images.update(value for value, count in one.pixels.items() if count)
        objects.update(one.categories.tolist())
        sizes.update(np.floor(STEPS * np.log2(np.sqrt(one.areas))).astype(int).tolist())
    total = pixels.total()
    labelled = total - pixels[info.void]
    names = {0: "background"} if info.background else {}
    names |= {c.id: c.name for c in info.categories}
    return SplitSummary(
        images=len(facts),
        groups=groups,
        void=pixels[info.void] / total if total else 0.0,
        classes={
            name: ClassSummary(
                pixels=pixels[number] / labelled if labelled else 0.0,
                images=images[number],
                objects=objects[number],
            )
            for number, name in names.items()
        },
        sizes=dict(sorted(sizes.items())),
    )
