"""Label maps of predictions and truth, checked against each other's size."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from segbench.data.dataset import read_label_map
from segbench.errors import SegbenchError


def read_labels(path: Path, shape: tuple[int, ...] | None = None) -> np.ndarray:
    """A label map; a missing file, or one of another shape than `shape`, is an error."""
    if not path.is_file():
        raise SegbenchError("does not exist", where=path, remedy="predict every image of the split")
    labels = read_label_map(path)
    check_shape(labels, shape, path)
    return labels


def check_shape(labels: np.ndarray, shape: tuple[int, ...] | None, path: Path) -> None:
    if shape is not None and labels.shape[:2] != tuple(shape):
        raise SegbenchError(
            f"is {labels.shape[1]}x{labels.shape[0]} (width x height), its truth {shape[1]}x{shape[0]}",
            where=path,
            remedy="resize predictions to the truth's own size, by nearest neighbour, before scoring",
        )
