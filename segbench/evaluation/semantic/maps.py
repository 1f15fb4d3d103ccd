"""Read label maps, and process them quickly where large regions are uniform."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from segbench.data.images import open_image
from segbench.errors import SegbenchError

_REMEDY = "label maps have one channel of whole numbers, as PNG files of 8 or 16 bit do"


def read_labels(path: Path, shape: tuple[int, ...] | None = None) -> np.ndarray:
    """Read an H x W label map of whole numbers.

    Palette images give their indices. Floats, and images with colours or alpha, are read if they hold whole
    numbers in one channel without loss.

    Args:
        path: image file.
        shape: expected height and width; None accepts any.

    Raises:
        SegbenchError: the file is missing, has another shape or is not a label map.
    """
    values = read_values(path, shape)
    if values.dtype.kind != "f":
        return values
    labels = np.nan_to_num(values, nan=-0.5, posinf=-0.5, neginf=-0.5).clip(-(2**31), 2**31 - 1)
    if (labels != np.rint(labels)).any() or (labels != values).any():
        y, x = np.argwhere((labels != np.rint(labels)) | (labels != values))[0]
        raise SegbenchError(
            f"is not a label map: it holds {values[y, x]:g} at row {y}, column {x}",
            where=path,
            remedy=_REMEDY,
        )
    return labels.astype(np.int64)


def read_values(path: Path, shape: tuple[int, ...] | None = None) -> np.ndarray:
    """Read an H x W map of any numbers (bool, integer or float), as `read_labels` does."""
    if not path.is_file():
        raise SegbenchError("does not exist", where=path, remedy="predict every image of the split")
    image = open_image(path)
    values = np.asarray(image)
    if values.ndim == 3 and image.mode in ("LA", "PA", "RGB", "RGBA"):
        values = _one_channel(values, image.mode, path)
    if values.ndim != 2 or values.dtype.kind not in "biuf":
        raise SegbenchError(
            f"is not a label map: shape {values.shape}, type {values.dtype}", where=path, remedy=_REMEDY
        )
    check_shape(values, shape, path)
    return values


def _one_channel(values: np.ndarray, mode: str, path: Path) -> np.ndarray:
    """Return the single channel of a grey image that was saved with colours or alpha."""
    grey = values[..., :-1] if mode.endswith("A") else values
    if mode.endswith("A") and (values[..., -1] != 255).any():
        why = "some pixels are transparent"
    elif (grey != grey[..., :1]).any():
        why = "the channels differ"
    else:
        return grey[..., 0]
    raise SegbenchError(
        f"is not a label map: shape {values.shape}, {why}",
        where=path,
        remedy=f"turn colours into the number of their class; {_REMEDY}",
    )


def check_shape(labels: np.ndarray, shape: tuple[int, ...] | None, path: Path) -> None:
    """Raise a `SegbenchError` that names `path` if a map does not have `shape` (height, width)."""
    if shape is not None and labels.shape[:2] != tuple(shape):
        raise SegbenchError(
            f"is {labels.shape[1]}x{labels.shape[0]} (width x height), its truth {shape[1]}x{shape[0]}",
            where=path,
            remedy="resize predictions to the truth's own size, by nearest neighbour, before scoring",
        )


def look_up(table: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Return `table[labels]`. The table needs an entry for every value of the type of `labels`."""
    if labels.dtype == table.dtype == np.uint8:  # five times as fast as indexing
        found = np.frombuffer(labels.tobytes().translate(table.tobytes()), np.uint8)
        return found.reshape(labels.shape)
    return table[labels]


@dataclass(frozen=True)
class Regions:
    """N runs of pixels, in raveled order, in which neither of two maps changes."""

    starts: np.ndarray
    """The first pixel of each run."""
    lengths: np.ndarray
    true: np.ndarray
    """Class index in the truth."""
    guess: np.ndarray
    """Class index in the prediction."""


def regions(truth: np.ndarray, predicted: np.ndarray) -> Regions:
    """Return the regions of two H x W maps of class indices."""
    changed = np.ones(truth.size, bool)
    true, guess = truth.ravel(), predicted.ravel()
    np.not_equal(true[1:], true[:-1], out=changed[1:])
    changed[1:] |= guess[1:] != guess[:-1]
    starts = np.flatnonzero(changed)
    return Regions(starts, np.diff(starts, append=changed.size), true[starts], guess[starts])
