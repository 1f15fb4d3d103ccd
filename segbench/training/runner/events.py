"""Event files of a training for TensorBoard."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from segbench.errors import SegbenchError

FOLDER = "tensorboard"
GROUPS = {
    "total": "loss/total",
    "validation": "loss/validation",
    "lr": "learning rate",
    "grad_norm": "gradient norm",
    "images_per_second": "images per second",
    "epoch": "epoch",
}
"""Name of the curve of each column of the history."""


class Events:
    """Write the curves and pictures of a training. Without a writer, nothing is written."""

    def __init__(self, writer: Any = None) -> None:
        self._writer = writer

    def add(self, row: Mapping[str, Any], metric: str) -> None:
        """Add the numbers of a row of the history. `metric` names the score of a validation."""
        for column, value in row.items() if self._writer else ():
            name = f"validation/{metric}" if column == "validation_score" else GROUPS.get(column)
            if column.startswith("loss_"):
                name = f"loss/{column.removeprefix('loss_')}"
            if name and value is not None:
                self._writer.add_scalar(name, value, row["iteration"])

    def add_pictures(self, pictures: Mapping[str, np.ndarray], iteration: int) -> None:
        """Add pictures (H x W x 3 uint8) by name."""
        for name, picture in pictures.items() if self._writer else ():
            self._writer.add_image(f"validation/{name}", picture, iteration, dataformats="HWC")


@contextmanager
def events_in(cell: Path, start: int, wanted: bool) -> Iterator[Events]:
    """Yield what writes event files to the folder `tensorboard` of a cell.

    Args:
        cell: folder of the cell.
        start: iteration that the training continues from. TensorBoard forgets later ones, which an earlier
            attempt has written.
        wanted: whether to write anything.

    Raises:
        SegbenchError: TensorBoard is not installed.
    """
    if not wanted:
        yield Events()
        return
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError as error:
        raise SegbenchError(
            f"the package tensorboard is needed ({error})",
            where="tensorboard: true",
            remedy="install segbench[tensorboard], or set tensorboard: false",
        ) from error
    if not start:
        for old in (cell / FOLDER).glob("events.out.tfevents.*"):
            old.unlink()
    with SummaryWriter(str(cell / FOLDER), purge_step=start + 1 if start else None) as writer:
        yield Events(writer)
