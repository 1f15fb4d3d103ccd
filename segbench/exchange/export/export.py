"""Write a converted dataset in the format of another program."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

from segbench.data.dataset import Dataset
from segbench.errors import SegbenchError, nearest
from segbench.exchange.export import coco, nnunet, pairs, yolo


def export_dataset(data: Path, out: Path, to: str, *, number: int = 501, folds: int | None = None) -> Path:
    """Write a dataset for another program.

    Args:
        data: folder of the converted dataset, or of one of its folds.
        out: folder to write.
        to: nnunet, yolo, coco or pairs.
        number: number of nnU-Net's dataset.
        folds: number of folds of nnU-Net's cross-validation; of other formats, export the folds themselves.

    Returns:
        The folder that was written.

    Raises:
        SegbenchError: the format is unknown or cannot hold the dataset, or the folder exists.
    """
    formats: dict[str, Callable[[Dataset, Path], Path]] = {
        "nnunet": partial(nnunet.export, number=number, folds=folds),
        "yolo": yolo.export,
        "coco": coco.export,
        "pairs": pairs.export,
    }
    if to not in formats:
        hint = nearest(to, formats)
        raise SegbenchError(
            f"'{to}' is not one of {', '.join(formats)}",
            where="--to",
            remedy=f"did you mean '{hint}'?" if hint else None,
        )
    if folds is not None and to != "nnunet":
        raise SegbenchError(
            "is for nnunet, whose format has folds",
            where="--folds",
            remedy=f"export each fold that `segbench fold` makes, such as {data}/folds/{folds}/0",
        )
    return formats[to](Dataset(data), out)
