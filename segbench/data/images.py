"""Read images: with their pixels as stored, or upright as viewers show them."""

from __future__ import annotations

import io
from pathlib import Path
from typing import IO

import numpy as np
from PIL import Image, UnidentifiedImageError

from segbench.contract.limits import MAX_PIXELS
from segbench.data import levels
from segbench.data.levels import Levels
from segbench.errors import SegbenchError

IMAGE_SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".tif", ".tiff", ".gif", ".bmp", ".webp"})
_EXIF, _FOUND = 0x0112, "orientation"
_STORED = {  # from an upright image to the stored one
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_90,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_270,
}
_SHOWN = _STORED | {6: Image.Transpose.ROTATE_270, 8: Image.Transpose.ROTATE_90}
_allowed = MAX_PIXELS
Image.MAX_IMAGE_PIXELS = None  # `open_image` has its own limit, which a configuration can raise


def allow_pixels(count: int) -> None:
    """Let `open_image` accept images of up to `count` pixels in this process. It never lowers the limit."""
    global _allowed
    _allowed = max(_allowed, count)


def check_pixels(width: int, height: int, where: Path | str) -> None:
    """Raise SegbenchError if an image of this size is too large (see `allow_pixels`)."""
    if width * height > _allowed:
        raise SegbenchError(
            f"has {width}x{height} pixels; up to {_allowed} are allowed, because a small file may claim "
            "to be large",
            where=where,
            remedy=f"if you trust it, set `limits: {{max_pixels: {width * height}}}` in the configuration",
        )


def open_image(path: Path | IO[bytes], *, where: Path | str | None = None) -> Image.Image:
    """Open an image, with its pixels as stored.

    Args:
        path: image file.
        where: what error messages name instead of `path`.

    Raises:
        SegbenchError: the image is broken, too large (see `allow_pixels`), or has 16-bit colours.
    """
    where = where or (path if isinstance(path, Path) else "image")
    try:
        image: Image.Image = Image.open(path)
        check_pixels(image.width, image.height, where)
        _refuse_deep_colour(image, where)
        orientation = _orientation(image)  # before `load`, which drops it for TIFF
        if image.format == "TIFF" and orientation > 4 and isinstance(path, Path):
            image = Image.open(io.BytesIO(path.read_bytes()))  # Pillow garbles memory-mapped TIFFs
        image.load()
        if image.format == "TIFF" and orientation in _STORED:  # Pillow turns these on its own
            image = image.transpose(_STORED[orientation])
        image.info[_FOUND] = orientation
        return image
    except (UnidentifiedImageError, OSError, ValueError, SyntaxError) as error:
        why = "unknown format" if isinstance(error, UnidentifiedImageError) else error
        raise SegbenchError(
            f"is not a readable image ({why})",
            where=where,
            remedy="replace the file or remove it from the dataset",
        ) from error


def read_header(path: Path) -> tuple[tuple[int, int], int]:
    """Return width and height of an image as stored, and its EXIF orientation (1 to 8), from its header.

    Raises:
        SegbenchError: the image is broken or too large.
    """
    try:
        with Image.open(path) as image:
            size, orientation = image.size, _orientation(image)
            if image.format == "TIFF" and orientation > 4:  # Pillow exchanges the sides of these on its own
                size = size[::-1]
    except (OSError, ValueError, SyntaxError):
        whole = open_image(path)  # raises a clear error
        size, orientation = whole.size, whole.info[_FOUND]
    return size, orientation


def _orientation(image: Image.Image) -> int:
    """Return the EXIF orientation, 1 to 8. A damaged entry counts as 1, as in viewers."""
    try:
        found = image.getexif().get(_EXIF, 1)
    except Exception:  # Pillow's parsers raise many types
        return 1
    return found if found in _SHOWN else 1


def _refuse_deep_colour(image: Image.Image, where: Path | str) -> None:
    """Raise SegbenchError for 16-bit colours, which Pillow silently reduces to 8 bits."""
    tiles = getattr(image, "tile", [])
    modes = [str(tile.args if isinstance(tile.args, str) else tile.args[:1]) for tile in tiles]
    if any(";16" in mode for mode in modes) and not image.mode.startswith("I"):
        raise SegbenchError(
            f"has 16 bits in each of {len(image.getbands())} channels, which would be reduced to 8",
            where=where,
            remedy="save it with 8 bits per channel, or as one grey channel of 16 bits",
        )


def has_more_than_8_bit(image: Image.Image) -> bool:
    """Return whether an image has integers of more than 8 bits, or floats."""
    return image.mode.startswith("I") or image.mode == "F"


def is_turned(image: Image.Image) -> bool:
    """Return whether viewers turn or flip an image from `open_image`."""
    return image.info.get(_FOUND, 1) != 1


def upright(image: Image.Image) -> Image.Image:
    """Turn an image from `open_image` as its EXIF orientation says, and drop the EXIF entry."""
    if not is_turned(image):
        return image
    shown = image.transpose(_SHOWN[image.info[_FOUND]])
    for key in (_FOUND, "exif", "xmp", "XML:com.adobe.xmp"):
        shown.info.pop(key, None)
    return shown


def save_lossless(image: Image.Image, path: Path) -> Path:
    """Save an image beside `path` as PNG, or as TIFF if it has floats. Return the new path."""
    if image.mode == "F":
        path = path.with_name(f"{path.stem}.tiff")
    else:
        path = path.with_name(f"{path.stem}.png")
        if image.mode not in ("1", "L", "LA", "P", "RGB", "RGBA", "I", "I;16"):
            image = image.convert("RGB")
    image.save(path)
    return path


def read_image(path: Path, channels: int, scale: Levels | None = None) -> np.ndarray:
    """Read an image with its pixels as stored.

    Args:
        path: image file.
        channels: 1 or 3.
        scale: see `in_levels`.

    Returns:
        H x W x channels; see `in_levels` for type and values.
    """
    return in_levels(pixels(open_image(path), path, channels), scale)


def read_upright(path: Path, channels: int, scale: Levels | None = None) -> np.ndarray:
    """Like `read_image`, but upright: turned by EXIF, as viewers and annotation tools show it."""
    return in_levels(pixels(upright(open_image(path)), path, channels), scale)


def pixels(image: Image.Image, where: Path | str, channels: int) -> np.ndarray:
    """Convert an image to an array; grey and colour are converted into each other, alpha is dropped.

    Args:
        image: the image.
        where: what error messages name.
        channels: 1 or 3.

    Returns:
        H x W x channels: uint8, or float64 with the stored values for images of more than 8 bits.
    """
    if channels not in (1, 3):
        raise SegbenchError(f"{channels} channels requested; 1 and 3 are supported", where=where)
    if has_more_than_8_bit(image):
        array = np.asarray(image, np.float64)
        if not np.isfinite(array).any():
            raise SegbenchError(
                "has no finite pixel value",
                where=where,
                remedy="replace the file or remove it from the dataset",
            )
        return np.repeat(array[:, :, None], channels, axis=2)
    array = np.asarray(image.convert("L" if channels == 1 else "RGB"))
    return array[:, :, None] if channels == 1 else array


def in_levels(array: np.ndarray, scale: Levels | None) -> np.ndarray:
    """Scale an array from `pixels`.

    Args:
        array: H x W x channels.
        scale: darkest and brightest value of a dataset of more than 8 bits, or None.

    Returns:
        With `scale`: float32 in 0..1. Without: uint8; images of more than 8 bits use their own range.
    """
    if scale is not None:
        return levels.stretch(array, scale if array.dtype != np.uint8 else (0, 255))
    if array.dtype == np.uint8:
        return array
    return (levels.stretch(array, levels.value_range(array[:, :, 0])) * 255).round().astype(np.uint8)


def read_label_map(path: Path) -> np.ndarray:
    """Read an H x W integer map from an 8 or 16-bit PNG. Palette images give their indices."""
    array = np.asarray(open_image(path))
    if array.ndim != 2 or array.dtype.kind not in "biu":
        raise SegbenchError(
            f"is not a label map: shape {array.shape}, type {array.dtype}",
            where=path,
            remedy="save it as a PNG file with one channel of 8 or 16 bits",
        )
    return array
