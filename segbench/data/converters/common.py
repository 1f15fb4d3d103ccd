"""What several converters share."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from pydantic import BaseModel, ConfigDict, ValidationError

from segbench.contract.view import Category
from segbench.data.images import open_image
from segbench.errors import SegbenchError, first_fault, nearest
from segbench.files import read_json

Model = TypeVar("Model", bound=BaseModel)
DARK, BRIGHT = 64, 192
GREY_SHARE = 0.05
"""Share of a mask's pixels that may be neither dark nor bright: the edges of a smoothed mask."""


class NoOptions(BaseModel):
    """Of a converter without any."""

    model_config = ConfigDict(extra="forbid")


def parse_options(model: type[Model], options: dict[str, Any]) -> Model:
    """The dataset's `options`, checked."""
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
    """`path`, which must exist."""
    if not path.exists():
        raise SegbenchError("is missing", where=path, remedy=remedy)
    return path


def inside(root: Path, name: str) -> Path:
    """The path that `name`, which stands in a file of the dataset, has under `root`, and never outside."""
    path = root / name
    try:
        path.exists()
    except (OSError, ValueError) as error:
        raise SegbenchError(
            f"{name[:80]!r} cannot be the name of a file", where=root, remedy="mend the entry"
        ) from error
    if "\0" in name or not path.resolve().is_relative_to(root.resolve()):
        raise SegbenchError(
            f"{name!r} leads out of the dataset's folder", where=root, remedy="mend the entry"
        )
    return path


def hashed_test(names: Sequence[str], fraction: float) -> set[str]:
    """The `fraction` of `names` that come first by SHA-256: a fixed choice without any order in it."""
    ranked = sorted(names, key=lambda name: hashlib.sha256(name.encode()).digest())
    return set(ranked[: max(1, round(len(names) * fraction))])


def color(number: int) -> tuple[int, int, int]:
    """VOC's palette: the bits of `number` dealt to red, green and blue in turn, highest bit first."""
    red, green, blue = (
        sum((number >> (3 * bit + channel) & 1) << (7 - bit) for bit in range(8)) for channel in range(3)
    )
    return red, green, blue


def categories(names: Iterable[str], *, isthing: bool) -> list[Category]:
    return [Category(id=i, name=n, isthing=isthing, color=color(i)) for i, n in enumerate(names, 1)]


def read_binary(path: Path) -> np.ndarray:
    """H x W bool from a black and white image of any format.

    Two values 0 and v count as 0 and not 0, whatever v is (1 or 255). Others occur where a mask was saved as
    JPEG, smoothed, or given a palette: then bright pixels count, and dark ones do not.
    """
    array = np.asarray(open_image(require(path)).convert("L"))
    values, counts = np.unique(array, return_counts=True)
    if (len(values) == 2 and values[0] == 0) or values.tolist() in ([0], [1]):
        return array > 0
    grey = (values >= DARK) & (values < BRIGHT)
    share = counts[grey].sum() / array.size
    if values[-1] < BRIGHT or share > GREY_SHARE or (len(values) > 1 and values[0] >= DARK):
        shown = ", ".join(map(str, values[:5])) + (", ..." if len(values) > 5 else "")
        raise SegbenchError(
            f"is no black and white mask: it holds the values {shown}, and {share:.1%} of it are grey",
            where=path,
            remedy="save it as PNG of two values: 0 outside, 255 (or 1) inside",
        )
    return array > 127


def same_size(array: np.ndarray, path: Path, other: np.ndarray, whose: str) -> None:
    """`array`, read from `path`, must be as large as `other`."""
    if array.shape != other.shape:
        raise SegbenchError(
            f"has {array.shape[1]}x{array.shape[0]} pixels, {whose} {other.shape[1]}x{other.shape[0]}",
            where=path,
            remedy="fetch the archive again",
        )


def read_lines(path: Path) -> list[str]:
    """The lines of a text file that are not blank."""
    try:
        text = require(path).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise SegbenchError(f"is no readable text ({error})", where=path, remedy="fetch it again") from error
    return [line.strip() for line in text.splitlines() if line.strip()]


def read_checked(path: Path, kind: type[Model]) -> Model:
    """A JSON file that must be of this kind."""
    try:
        return kind.model_validate(read_json(require(path)))
    except ValidationError as error:
        raise SegbenchError(
            f"is not as expected ({first_fault(error)})", where=path, remedy="mend it, or fetch it again"
        ) from error
