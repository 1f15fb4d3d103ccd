"""Functions that several converters share."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from pydantic import BaseModel, ConfigDict, ValidationError

from segbench.contract.view import Category
from segbench.data.images import open_image
from segbench.errors import SegbenchError, nearest

Model = TypeVar("Model", bound=BaseModel)
DARK, BRIGHT = 64, 192
GREY_SHARE = 0.05
"""Largest share of pixels of a mask that are neither dark nor bright, as at the edges of a smoothed mask."""


class NoOptions(BaseModel):
    """Options of a converter that has none."""

    model_config = ConfigDict(extra="forbid")


def parse_options(model: type[Model], options: dict[str, Any]) -> Model:
    """Validate the `options` of a dataset. SegbenchError for a key or value that is not valid."""
    try:
        return model.model_validate(options)
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(map(str, first["loc"]))
        known = model.model_fields
        hint = nearest(key, known)
        raise SegbenchError(
            f"{first['msg']} (is {first['input']!r})",
            where=f"options.{key}",
            remedy=f"did you mean '{hint}'?" if hint not in (None, key) else f"known: {', '.join(known)}",
        ) from error


def require(path: Path, remedy: str = "fetch the archive again, or check that it is upstream's") -> Path:
    """Return `path` if it exists. SegbenchError with `remedy` if not."""
    if not path.exists():
        raise SegbenchError("is missing", where=path, remedy=remedy)
    return path


def inside(root: Path, name: str) -> Path:
    """Join `root` and a name from a file of the dataset. SegbenchError if it leads out of `root`."""
    path = root / name
    try:
        path.exists()
    except (OSError, ValueError) as error:
        raise SegbenchError(
            f"{name[:80]!r} cannot be the name of a file", where=root, remedy="fix the entry"
        ) from error
    if "\0" in name or not path.resolve().is_relative_to(root.resolve()):
        raise SegbenchError(f"{name!r} leads out of the dataset's folder", where=root, remedy="fix the entry")
    return path


def color(number: int) -> tuple[int, int, int]:
    """Return the colour `number` of the PASCAL VOC palette."""
    red, green, blue = (
        sum((number >> (3 * bit + channel) & 1) << (7 - bit) for bit in range(8)) for channel in range(3)
    )
    return red, green, blue


def categories(names: Iterable[str], *, isthing: bool) -> list[Category]:
    """Make categories with ids from 1 and colours of the PASCAL VOC palette."""
    return [Category(id=i, name=n, isthing=isthing, color=color(i)) for i, n in enumerate(names, 1)]


def read_binary(path: Path) -> np.ndarray:
    """Read an H x W bool mask from a black and white image of any format.

    If there are two values, 0 and another (such as 1 or 255), the other one is the mask. If there are more,
    as in masks that were saved as JPEG or smoothed, bright pixels are the mask.

    Raises:
        SegbenchError: the image is not black and white.
    """
    image = open_image(require(path)).convert("L")
    array, histogram = np.asarray(image), np.array(image.histogram())  # far faster than np.unique
    values = np.flatnonzero(histogram)
    if (len(values) == 2 and values[0] == 0) or values.tolist() in ([0], [1]):
        return array > 0
    grey = (values >= DARK) & (values < BRIGHT)
    share = histogram[values[grey]].sum() / array.size
    if values[-1] < BRIGHT or share > GREY_SHARE or (len(values) > 1 and values[0] >= DARK):
        shown = ", ".join(map(str, values[:5])) + (", ..." if len(values) > 5 else "")
        raise SegbenchError(
            f"is not a black and white mask: it has the values {shown}; {share:.1%} of its pixels are grey",
            where=path,
            remedy="save it as PNG with two values: 0 outside, 255 (or 1) inside",
        )
    return array > 127


def same_size(array: np.ndarray, path: Path, other: np.ndarray, whose: str) -> None:
    """Raise SegbenchError if `array`, from `path`, does not have the size of `other`, called `whose`."""
    if array.shape != other.shape:
        raise SegbenchError(
            f"has {array.shape[1]}x{array.shape[0]} pixels, {whose} has {other.shape[1]}x{other.shape[0]}",
            where=path,
            remedy="fetch the archive again",
        )


def read_lines(path: Path) -> list[str]:
    """Return the lines of a text file that are not blank."""
    try:
        text = require(path).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise SegbenchError(f"is not readable text ({error})", where=path, remedy="fetch it again") from error
    return [line.strip() for line in text.splitlines() if line.strip()]
