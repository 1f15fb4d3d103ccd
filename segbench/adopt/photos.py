"""What the images of a folder have in common: channels and depth."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from segbench.adopt.proposal import spread
from segbench.data.images import open_image
from segbench.errors import SegbenchError

_SAMPLE = 40


def channels_of(paths: Sequence[Path]) -> tuple[int, list[str]]:
    """Return the channels of images, 1 or 3, and notes on their sizes and depth, from a sample."""
    sizes: Counter[tuple[int, int]] = Counter()
    color = deep = 0
    for path in spread(list(paths), _SAMPLE):
        try:
            image = open_image(path)
        except SegbenchError:  # the conversion lists it
            continue
        sizes[image.size] += 1
        deep += image.mode.startswith(("I", "F"))
        if image.mode not in ("1", "L", "LA") and not image.mode.startswith(("I", "F")):
            array = np.asarray(image.convert("RGB"))
            color += bool((array[..., :1] != array[..., 1:]).any())
    if not sizes:
        return 3, []
    widths = sorted(width for width, _ in sizes)
    heights = sorted(height for _, height in sizes)
    size = (
        f"{widths[0]}x{heights[0]} pixels"
        if len(sizes) == 1
        else f"{widths[0]} to {widths[-1]} pixels wide and {heights[0]} to {heights[-1]} high"
    )
    notes = [f"{'colour' if color else 'grey'} images, {size} (a sample of {sizes.total()})"]
    if deep:
        notes.append("images of more than 8 bits, which are scaled by the range of the training images")
    return 3 if color else 1, notes
