"""Images of a converted dataset as other programs read them."""

from __future__ import annotations

from collections.abc import Collection
from contextlib import suppress
from pathlib import Path

import numpy as np
from PIL import Image

from segbench.data.dataset import ImageRecord, Split
from segbench.data.images import open_raster, read_header, save_raster
from segbench.data.writing.image import link
from segbench.errors import SegbenchError

COMMON = frozenset({".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp", ".webp"})
"""Formats that most programs read."""


def place(split: Split, record: ImageRecord, folder: Path, kinds: Collection[str] = COMMON) -> str:
    """Put an image into a folder under its own name.

    The file is linked, or copied to another file system. An image of another format, or one that EXIF turns,
    is written anew without loss, since programs differ in whether they obey EXIF.

    Args:
        split: split of the image.
        record: the image.
        folder: folder to write to.
        kinds: endings that may stay.

    Returns:
        The name of the file.
    """
    if record.suffix.lower() in kinds and not _is_turned(record.path):
        link(record.path, folder / record.path.name)
        return record.path.name
    raster = open_raster(record.path, split.dataset.info.channels)
    return save_raster(raster.array, folder / f"{record.stem}.png").name


def _is_turned(path: Path) -> bool:
    with suppress(SegbenchError):  # TIFF files that only tifffile reads are not turned
        return read_header(path)[1] != 1
    return False


def save_png(values: np.ndarray, path: Path) -> None:
    """Write H x W or H x W x 3 numbers of 8 bits, or H x W of 16 bits."""
    Image.fromarray(values).save(path, compress_level=1)


def new_folder(path: Path) -> Path:
    """Return the path of a folder that is to be written. SegbenchError if it exists already."""
    if path.exists():
        raise SegbenchError("exists already", where=path, remedy="remove it, or name another folder")
    return path
