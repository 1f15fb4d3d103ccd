"""What the images of a folder have in common: channels and depth."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import tifffile

from segbench.adopt.proposal import spread
from segbench.data.images import open_image
from segbench.errors import SegbenchError

_SAMPLE = 40


def channels_of(paths: Sequence[Path]) -> tuple[int, list[str]]:
    """Return the channels of images, and notes on their sizes and depth, from a sample."""
    sizes: Counter[tuple[int, int]] = Counter()
    color = deep = 0
    many: Counter[int] = Counter()
    for path in spread(list(paths), _SAMPLE):
        if count := _samples_of(path):
            many[count] += 1
            continue
        try:
            image = open_image(path)
        except SegbenchError:  # the conversion lists it
            continue
        sizes[image.size] += 1
        deep += image.mode.startswith(("I", "F"))
        if image.mode not in ("1", "L", "LA") and not image.mode.startswith(("I", "F")):
            array = np.asarray(image.convert("RGB"))
            color += bool((array[..., :1] != array[..., 1:]).any())
    if many:
        channels = many.most_common(1)[0][0]
        return channels, [f"images of {channels} channels (a sample of {many.total()})"]
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


def _samples_of(path: Path) -> int:
    """Return the number of channels of a TIFF that has more than RGB and alpha; else 0."""
    if path.suffix.lower() not in (".tif", ".tiff"):
        return 0
    try:
        with tifffile.TiffFile(path) as file:
            count = int(file.pages.first.samplesperpixel)
    except Exception:  # tifffile raises many types for damaged files; the conversion lists them
        return 0
    return count if count > 4 else 0
