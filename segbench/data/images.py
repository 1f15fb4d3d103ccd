"""Opens images: the pixels as they are stored, or upright as a viewer shows them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from segbench.errors import SegbenchError

IMAGE_SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".tif", ".tiff", ".gif", ".bmp", ".webp"})


def open_image(path: Path | Any) -> Image.Image:
    """Open an image; a broken one is a `SegbenchError` that names the file."""
    try:
        image = Image.open(path)
        image.load()
        return image
    except (UnidentifiedImageError, OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        why = "unknown format" if isinstance(error, UnidentifiedImageError) else error
        raise SegbenchError(
            f"is not a readable image ({why})",
            where=path,
            remedy="replace the file or remove it from the set",
        ) from error


def read_image(path: Path, channels: int) -> np.ndarray:
    """H x W x channels uint8. Grey and colour are converted into each other, alpha is dropped."""
    return _pixels(open_image(path), path, channels)


def read_upright(path: Path, channels: int) -> np.ndarray:
    """Like `read_image`, turned as the EXIF orientation says: as viewers and annotation tools show it."""
    return _pixels(upright(open_image(path)), path, channels)


def upright(image: Image.Image) -> Image.Image:
    """The image as its EXIF orientation says that it is to be shown."""
    return ImageOps.exif_transpose(image)


def _pixels(image: Image.Image, path: Path, channels: int) -> np.ndarray:
    if image.mode.startswith("I") or image.mode == "F":  # 16 and 32 bit: scale by the type's range
        array = np.asarray(image, dtype=np.float64)
        top = 65535.0 if image.mode.startswith("I") else max(float(array.max()), 1e-12)
        image = Image.fromarray((array / top * 255).clip(0, 255).astype(np.uint8))
    if channels not in (1, 3):
        raise SegbenchError(f"{channels} channels asked for; 1 and 3 are supported", where=path)
    array = np.asarray(image.convert("L" if channels == 1 else "RGB"))
    return array[:, :, None] if channels == 1 else array


def read_label_map(path: Path) -> np.ndarray:
    """H x W integer map from an 8 or 16 bit PNG; palette images give their indices."""
    array = np.asarray(open_image(path))
    if array.ndim != 2 or array.dtype.kind not in "biu":
        raise SegbenchError(
            f"is no label map: shape {array.shape}, type {array.dtype}",
            where=path,
            remedy="label maps are single-channel PNG files of 8 or 16 bit",
        )
    return array
