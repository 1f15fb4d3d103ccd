"""Read a sample of masks, and describe what they hold."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import numpy as np
from PIL import Image
from scipy import ndimage

from segbench.adopt.proposal import spread
from segbench.data.converters.mask_files import LOSSY, Content, read_mask
from segbench.data.images import open_image
from segbench.errors import SegbenchError

Form = Literal["values", "palette", "colors", "lossy", "smooth"]
SAMPLE, DETAILED = 1000, 24
PIXELS = 300_000_000
"""Masks and pixels that are read for values, and masks that are examined further."""
_GREY_LEVELS = 32
"""With more values than this, and most pixels at the two ends, a mask is black and white, and smoothed."""
_FEW, _AREA = 64, 16
"""Files with more values than this, of fewer pixels on average, are photographs."""
_ALIKE = 0.9
"""Share of the pixels but 0 that are equal in masks of different images above which they are no truth, but
the field of view of a camera, for example."""


@dataclass
class Contents:
    """What a sample of masks holds.

    Attributes:
        form: how the masks are stored. `lossy`: JPEG; `smooth`: black and white with grey borders.
        masks: number of masks that were read.
        pixels: value (or colour as R + 256 G + 256² B) -> number of pixels.
        sets: the values of each mask.
        single: share of the values but 0, over the masks, that are one connected region each.
        bits: bits of a pixel.
        same: whether all masks are nearly equal, so that they cannot be the truth of different images.
        complete: whether all masks were read.
        unread: why masks could not be read.
    """

    form: Form
    masks: int = 0
    pixels: Counter[int] = field(default_factory=Counter)
    sets: list[set[int]] = field(default_factory=list)
    single: float = 0.0
    bits: int = 8
    same: bool = False
    complete: bool = True
    unread: list[str] = field(default_factory=list)

    @property
    def values(self) -> list[int]:
        return sorted(self.pixels)


def read_contents(paths: Sequence[Path], key: str | None = None, sample: int = SAMPLE) -> Contents:
    """Read a sample of masks, evenly spread. Masks that cannot be read are noted.

    Args:
        paths: the masks.
        key: variable in `.mat` files.
        sample: number of masks.
    """
    chosen = spread(list(paths), sample)
    form = _form(spread(list(paths), 5))
    detailed = set(spread(chosen, DETAILED))
    result = Contents(form)
    regions = single = pixels = 0
    first: np.ndarray | None = None
    alike = []
    for path in chosen:
        if pixels > PIXELS:
            break
        try:
            array = read_mask(path, _content(form), key)
        except SegbenchError as error:
            result.unread.append(f"{error.where}: {error.what}" if error.where else error.what)
            continue
        pixels += array.size
        result.masks += 1
        result.bits = max(result.bits, 8 * array.dtype.itemsize if form != "colors" else 8)
        levels = array.round() if array.dtype.kind == "f" else array
        counts = _counted(levels)
        numbers = list(counts)
        result.sets.append(set(numbers))
        result.pixels.update(counts)
        if path in detailed:
            if first is None:
                first = levels
            elif first.shape == levels.shape:
                inside = (first != 0) | (levels != 0)
                alike.append(float((first == levels)[inside].mean()) if inside.any() else 1.0)
            if form in ("values", "palette", "colors"):
                for value in numbers[:64]:
                    if value:
                        regions += 1
                        single += _is_one(levels == value)
    result.complete = result.masks == len(paths)
    result.single = single / regions if regions else 0.0
    result.same = len(alike) >= 2 and float(np.median(alike)) > _ALIKE and len(result.pixels) > 1
    if form == "values" and _is_smooth(result):
        result.form = "smooth"
    return result


def _counted(array: np.ndarray) -> dict[int, int]:
    """Return the number of pixels of each value, in order of the values."""
    if array.dtype == np.uint8:
        counts = np.bincount(array.ravel())
        return {k: int(counts[k]) for k in np.flatnonzero(counts).tolist()}
    values, counts = np.unique(array, return_counts=True)
    return {int(v): n for v, n in zip(values.tolist(), counts.tolist())}


def _content(form: Form) -> Content:
    return "colors" if form == "colors" else "grey" if form == "lossy" else "values"


def _form(paths: Sequence[Path]) -> Form:
    """Return how masks are stored, from the first that can be read."""
    found: list[Form] = []
    for path in paths:
        if path.suffix.lower() in (".npy", ".mat"):
            found.append("values")
            continue
        try:
            image = open_image(path)
        except SegbenchError:
            continue
        if image.format in LOSSY or "jpeg" in str(image.info.get("compression")):
            return "lossy"
        if image.mode in ("RGB", "RGBA"):
            array = np.asarray(image.convert("RGB"))
            if (array[..., :1] != array[..., 1:]).any():
                return "colors"
        found.append("palette" if image.mode in ("P", "PA") and _has_colors(image) else "values")
    return found[0] if found else "values"


def _has_colors(image: Image.Image) -> bool:
    colors = np.asarray(image.convert("RGB"))
    return bool((colors[..., :1] != colors[..., 1:]).any())


def _is_one(mask: np.ndarray) -> bool:
    """Return whether a mask is one region, but for specks."""
    labels, count = ndimage.label(mask, np.ones((3, 3)))
    return count == 1 or bool(np.bincount(labels.ravel())[1:].max() > 0.9 * mask.sum())


def _is_smooth(contents: Contents) -> bool:
    """Return whether these are black and white masks with grey borders."""
    values = contents.values
    if len(values) < _GREY_LEVELS or contents.bits > 8:
        return False
    ends = contents.pixels[values[0]] + contents.pixels[values[-1]]
    return ends > 0.8 * contents.pixels.total() and values[-1] - values[0] > 100 and contents.single < 0.9


def looks_like_masks(contents: Contents) -> float:
    """Return how likely it is, from 0 to 1, that files are masks, not photographs or drawings."""
    if not contents.masks:
        return 0.2
    if contents.form == "lossy":
        middle = sum(n for v, n in contents.pixels.items() if 64 <= v < 192)
        likely = 1.0 if middle < 0.1 * contents.pixels.total() else 0.05
    elif contents.form == "smooth":
        likely = 0.9
    else:
        most = max(map(len, contents.sets))
        likely = 0.9 if contents.form == "colors" else 1.0
        area = contents.pixels.total() / sum(map(len, contents.sets))
        if most > _FEW and (contents.single < 0.9 or area < _AREA):
            likely = 0.05
        elif len(contents.pixels) == 1:
            likely = 0.3
    return likely * (0.3 if contents.same else 1.0)
