"""Read images: with their pixels as stored, or upright as viewers show them."""

from __future__ import annotations

import io
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO, TypeVar

import numpy as np
from PIL import Image, UnidentifiedImageError

from segbench.contract.limits import MAX_PIXELS
from segbench.data import tiff
from segbench.data.deep_png import is_deep_png, read_deep_png
from segbench.data.levels import Levels, scaled
from segbench.errors import SegbenchError

IMAGE_SUFFIXES = frozenset(
    {".png", ".jpg", ".jpeg", ".tif", ".tiff", ".gif", ".bmp", ".webp", ".ppm", ".pgm"}
)
_EXIF, _FOUND, _WHITE = 0x0112, "orientation", "white"
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
_LUMA = np.array([0.299, 0.587, 0.114])
"""Weights of red, green and blue in a grey value, those of Pillow."""
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


def open_image(
    path: Path | IO[bytes], *, where: Path | str | None = None, deep_colours: bool = False
) -> Image.Image:
    """Open an image, with its pixels as stored.

    Args:
        path: image file.
        where: what error messages name instead of `path`.
        deep_colours: accept 16-bit colours, reduced to 8 bits; for callers that do not use the values.

    Raises:
        SegbenchError: the image is broken, too large (see `allow_pixels`), or has 16-bit colours.
    """
    where = where or (path if isinstance(path, Path) else "image")
    try:
        image: Image.Image = Image.open(path)
        check_pixels(*image.size, where)
        if not deep_colours:
            _refuse_deep_colour(image, where)
        orientation = _orientation(image)  # before `load`, which drops it for TIFF
        stated = _white_of_ppm(image)
        if image.format == "TIFF" and orientation > 4 and isinstance(path, Path):
            image = Image.open(io.BytesIO(path.read_bytes()))  # Pillow garbles memory-mapped TIFFs
        image.load()
        if image.format == "TIFF" and orientation in _STORED:  # Pillow turns these on its own
            image = image.transpose(_STORED[orientation])
        image.info |= {_FOUND: orientation, _WHITE: stated}
        return image
    except (UnidentifiedImageError, OSError, ValueError, SyntaxError) as error:
        raise _unreadable(error, where) from error


def _unreadable(error: Exception, where: Path | str) -> SegbenchError:
    why = "unknown format" if isinstance(error, UnidentifiedImageError) else error
    return SegbenchError(
        f"is not a readable image ({why})",
        where=where,
        remedy="replace the file or remove it from the dataset",
    )


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
    deep = any(";16" in mode for mode in modes) or _white_of_ppm(image) > 255
    if deep and not image.mode.startswith("I"):
        raise SegbenchError(
            f"has 16 bits in each of {len(image.getbands())} channels, which would be reduced to 8",
            where=where,
            remedy="save it with 8 bits per channel, or as one grey channel of 16 bits",
        )


def white(image: Image.Image) -> int:
    """Return the value that an image from `open_image` states for white, if it is a PPM or PGM file. Pillow
    has scaled its values, unless this is 255 or 65535.
    """
    return image.info.get(_WHITE, 255)


def _white_of_ppm(image: Image.Image) -> int:
    tiles = getattr(image, "tile", []) if image.format == "PPM" else []
    stated = [tile.args[1] for tile in tiles if isinstance(tile.args, tuple)]
    return stated[0] if stated else 255


def has_more_than_8_bit(image: Image.Image) -> bool:
    """Return whether an image has integers of more than 8 bits, or floats."""
    return image.mode.startswith("I") or image.mode == "F"


@dataclass(frozen=True)
class Raster:
    """An image as an array: `array` is H x W x C with the stored values, `orientation` that of EXIF.

    `canonical` says that `open_raster` reads the file alike without knowing its height and width.
    """

    array: np.ndarray
    orientation: int = 1
    canonical: bool = True

    @property
    def size(self) -> tuple[int, int]:
        """Width and height."""
        return self.array.shape[1], self.array.shape[0]


Opened = TypeVar("Opened", Image.Image, Raster)


def is_turned(image: Image.Image | Raster) -> bool:
    """Return whether viewers turn or flip an image from `open_image` or `open_raster`."""
    return (image.orientation if isinstance(image, Raster) else image.info.get(_FOUND, 1)) != 1


def upright(image: Opened) -> Opened:
    """Turn an image from `open_image` or `open_raster` as its EXIF orientation says, and drop the entry."""
    if not is_turned(image):
        return image
    if isinstance(image, Raster):
        return replace(image, array=_transposed(image.array, _SHOWN[image.orientation]), orientation=1)
    shown = image.transpose(_SHOWN[image.info[_FOUND]])
    for key in (_FOUND, "exif", "xmp", "XML:com.adobe.xmp"):
        shown.info.pop(key, None)
    return shown


def _transposed(array: np.ndarray, method: Image.Transpose) -> np.ndarray:
    """Do with an H x W x C array what Pillow's `transpose` does with an image."""
    name = method.name
    if name.startswith("ROTATE"):
        return np.rot90(array, int(name.removeprefix("ROTATE_")) // 90)
    if name.startswith("FLIP"):
        return np.flip(array, 1 if name == "FLIP_LEFT_RIGHT" else 0)
    turned = array.swapaxes(0, 1)
    return turned if name == "TRANSPOSE" else turned[::-1, ::-1]


def open_raster(
    path: Path, channels: int | None, *, size: tuple[int, int] | None = None, where: Path | str | None = None
) -> Raster:
    """Open an image of any depth and number of channels, with its pixels as stored.

    Grey and RGB become each other, and alpha is dropped, where `channels` requires it.

    Args:
        path: image file.
        channels: number of channels to return; None: those that the file has, without alpha.
        size: expected height and width, which tell the axes of a TIFF file apart; None: unknown.
        where: what error messages name instead of `path`.

    Raises:
        SegbenchError: the image is broken, too large (see `allow_pixels`), has another number of channels, or
            a channel without a finite value.
    """
    where = where or path
    raster = _read_by_tifffile(path, channels, size, where) or _read_deep_png(path, channels, where)
    if raster is None:
        image = open_image(path, where=where)
        raster = Raster(_bands(image, channels, where), image.info[_FOUND])
    if raster.array.dtype.kind not in "iuf":
        raise SegbenchError(
            f"has values of type {raster.array.dtype}", where=where, remedy="save it as integers or floats"
        )
    _check_finite(raster.array, where)
    return raster


def _check_finite(array: np.ndarray, where: Path | str) -> None:
    if array.dtype.kind == "f" and not (finite := np.isfinite(array).any(axis=(0, 1))).all():
        channel = f" in channel {int(np.argmin(finite)) + 1}" if finite.any() else ""
        raise SegbenchError(
            f"has no finite pixel value{channel}",
            where=where,
            remedy="replace the file or remove it from the dataset",
        )


def array_raster(array: np.ndarray, channels: int, where: Path | str) -> Raster:
    """Check the array of a `Sample` and return it with `channels` channels.

    Args:
        array: H x W or H x W x C of uint8, uint16, int16 or float32.
        channels: number of channels to return; grey becomes RGB where this is 3.
        where: what error messages name.

    Raises:
        SegbenchError: the array has another shape or type, another number of channels, or a channel without a
            finite value.
    """
    if array.dtype.str[1:] not in ("u1", "u2", "i2", "f4") or array.ndim not in (2, 3) or not array.size:
        raise SegbenchError(
            f"is an array of shape {array.shape} and type {array.dtype}",
            where=where,
            remedy="give height x width x channels of uint8, uint16, int16 or float32",
        )
    array = array.reshape(*array.shape[:2], -1)
    _check_finite(array, where)
    return Raster(fit_channels(array, channels, where))


def _read_by_tifffile(
    path: Path, channels: int | None, size: tuple[int, int] | None, where: Path | str
) -> Raster | None:
    try:
        if not tiff.is_tiff(path):
            return None
        found = tiff.read_tiff(path, channels, size, lambda h, w: check_pixels(w, h, where))
    except SegbenchError as error:
        raise SegbenchError(error.what, where=where, remedy=error.remedy) from error
    except OSError:
        return None  # Pillow's message is as good
    except Exception as error:  # tifffile raises many types for damaged files
        raise _unreadable(error, where) from error
    if found is None:
        return None
    array = fit_channels(found.array, channels, where, rgb=found.rgb, alpha=found.alpha)
    orientation = found.orientation if found.orientation in _SHOWN else 1
    return Raster(array, orientation, found.labelled)


def _read_deep_png(path: Path, channels: int | None, where: Path | str) -> Raster | None:
    """Read a PNG file with 16 bits in each of several channels; None if the file is no such file."""
    try:
        if not is_deep_png(path):
            return None
        with Image.open(path) as image:
            check_pixels(*image.size, where)
            orientation = _orientation(image)
        array = read_deep_png(path)
    except (OSError, ValueError, SyntaxError) as error:
        raise _unreadable(error, where) from error
    alpha = array.shape[2] in (2, 4)
    return Raster(fit_channels(array, channels, where, rgb=array.shape[2] > 2, alpha=alpha), orientation)


def _bands(image: Image.Image, channels: int | None, where: Path | str) -> np.ndarray:
    """Convert an image of Pillow to H x W x channels."""
    if has_more_than_8_bit(image):
        array = np.asarray(image)[:, :, None]
        return fit_channels(array.astype(array.dtype.newbyteorder("="), copy=False), channels, where)
    if channels in (1, 3):
        return np.asarray(image.convert("L" if channels == 1 else "RGB")).reshape(*image.size[::-1], channels)
    alpha = image.mode in ("LA", "La", "PA", "RGBA", "RGBa")
    grey = image.mode in ("1", "L", "LA", "La")
    form = ("L" if grey else "RGB") + ("A" if alpha else "")
    array = np.asarray(image.convert(form)).reshape(*image.size[::-1], -1)
    return fit_channels(array, channels, where, rgb=not grey, alpha=alpha)


def fit_channels(
    array: np.ndarray, channels: int | None, where: Path | str, *, rgb: bool = False, alpha: bool = False
) -> np.ndarray:
    """Return H x W x channels of an H x W x C array, by the rules of `open_raster`.

    Args:
        array: the image.
        channels: number of channels to return; None: all but alpha.
        where: what the message names.
        rgb: whether the first three channels are red, green and blue.
        alpha: whether the last channel is opacity.

    Raises:
        SegbenchError: the image has another number of channels.
    """
    found = array.shape[2]
    if found == channels:
        return array
    if alpha:
        array = array[:, :, :-1]
    if channels in (None, array.shape[2]):
        return array
    if array.shape[2] == 1 and channels == 3:
        return np.repeat(array, 3, axis=2)
    if array.shape[2] == 3 and channels == 1 and rgb:
        return (array @ _LUMA)[:, :, None]
    raise SegbenchError(
        f"has {found} channels; {channels} are expected",
        where=where,
        remedy=f"write `channels: {found}` in the dataset's entry, or save the image with {channels}",
    )


def save_raster(array: np.ndarray, path: Path) -> Path:
    """Save an image losslessly beside `path`, so that `open_raster` reads the same values.

    PNG for 8-bit grey and RGB and for 16-bit grey; else TIFF.

    Args:
        array: H x W x C.
        path: its name gives the stem.

    Returns:
        The new path.
    """
    array = np.ascontiguousarray(array[:, :, 0] if array.shape[2] == 1 else array)
    depth = array.dtype
    if (depth == np.uint8 and array.shape[2:] in ((), (3,))) or (depth == np.uint16 and array.ndim == 2):
        path = path.with_name(f"{path.stem}.png")
        Image.fromarray(array).save(path, compress_level=1)
    else:
        path = path.with_name(f"{path.stem}.tiff")
        tiff.write_tiff(path, array)
    return path


def read_image(path: Path, channels: int, levels: Levels | None = None) -> np.ndarray:
    """Read an image with its pixels as stored.

    Args:
        path: image file.
        channels: number of channels; see `open_raster`.
        levels: see `segbench.data.levels.scaled`.

    Returns:
        H x W x channels: uint8, or float32 in 0..1 with `levels`.
    """
    return scaled(open_raster(path, channels).array, levels)


def read_upright(path: Path, channels: int, levels: Levels | None = None) -> np.ndarray:
    """Like `read_image`, but upright: turned by EXIF, as viewers and annotation tools show it."""
    return scaled(upright(open_raster(path, channels)).array, levels)


def image_size(path: Path) -> tuple[int, int]:
    """Return width and height of an image of a dataset, as stored, from the header of its file.

    Raises:
        SegbenchError: the image is broken.
    """
    try:
        if tiff.is_tiff(path):
            return tiff.page_size(path)
        with Image.open(path) as image:
            return image.size
    except Exception as error:  # tifffile raises many types for damaged files
        raise _unreadable(error, path) from error


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
