"""Read a mask exactly, whatever program wrote it: images, NumPy arrays and MATLAB files."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal, NoReturn

import numpy as np
from PIL import Image
from scipy.io import loadmat, whosmat
from tifffile import PHOTOMETRIC, TiffFile

from segbench.data.dataset import rgb_to_id
from segbench.data.images import check_pixels, is_turned, open_image, white
from segbench.errors import SegbenchError

Content = Literal["values", "colors", "numbers", "grey"]
"""What a mask holds: values of classes (palette images: the indices), colours, numbers of objects (also as
colours), or grey levels."""
_PILLOW = ("bool", "uint8", "uint16", "int16", "int32", "float32")
"""Types of TIFF that Pillow reads exactly."""
LOSSY = ("JPEG", "MPO", "JPEG2000", "WEBP")
_NOT_A_MAP = "save it with one channel: a class or an object number in every pixel"


def read_mask(path: Path, content: Content, variable: str | None = None) -> np.ndarray:
    """Read a mask as H x W numbers, with its pixels as stored.

    Args:
        path: image file, `.npy` or `.mat`.
        content: what the mask holds. Colours become R + 256 G + 256² B.
        variable: name of the variable in a `.mat` file; `a.b` is the field `b` of the structure `a`. None:
            the only one.

    Returns:
        bool for masks of one bit, else integers. `grey` may also give floats.

    Raises:
        SegbenchError: the file is broken, or does not hold what `content` says without loss.
    """
    suffix = path.suffix.lower()
    if suffix in (".npy", ".mat"):
        array = _numpy(path) if suffix == ".npy" else _matlab(path, variable)
        if array.ndim == 3 and 1 in (array.shape[0], array.shape[2]):
            array = array[0] if array.shape[0] == 1 else array[:, :, 0]
        if (
            not array.size
            or array.dtype.kind not in "biuf"
            or not (array.ndim == 2 or (array.ndim == 3 and array.shape[2] == 3 and array.dtype == np.uint8))
        ):
            _fail(path, f"is not a mask: shape {array.shape}, type {array.dtype}", _NOT_A_MAP)
        check_pixels(array.shape[1], array.shape[0], path)
        array = np.ascontiguousarray(array)
    else:
        exact = _tiff(path) if suffix in (".tif", ".tiff") else None
        array = _image(path, content) if exact is None else exact
    return _numbers(array, content, path)


def _fail(path: Path, what: str, remedy: str) -> NoReturn:
    raise SegbenchError(what, where=path, remedy=remedy)


def _image(path: Path, content: Content) -> np.ndarray:
    """Return H x W, or H x W x 3 for colours."""
    image = open_image(path)
    if is_turned(image):
        _fail(
            path,
            "is a mask with an EXIF orientation, so that it is unclear which pixels it marks",
            "turn it as the image is stored, and save it without (`exiftool -Orientation= FILE`)",
        )
    if getattr(image, "n_frames", 1) > 1:
        _fail(path, f"has {image.n_frames} pages", "save a file for each page")  # type: ignore[attr-defined]
    if content != "grey" and (image.format in LOSSY or "jpeg" in str(image.info.get("compression"))):
        _fail(
            path,
            "is compressed with loss (JPEG), which changes the values of a mask",
            "save it as PNG; for a black and white mask, set `threshold` (such as 128)",
        )
    if (stated := white(image)) not in (255, 65535):
        _fail(
            path,
            f"states that white is {stated}, so that programs scale its values",
            "save it as PNG, or with 255 as the largest value in its header",
        )
    if image.mode in ("LA", "PA", "RGBA"):
        alpha = np.asarray(image.getchannel("A"))
        if clear := np.count_nonzero(alpha != 255):
            _fail(path, f"has {clear} transparent pixels", "save it without transparency (alpha channel)")
        image = image.convert({"LA": "L", "PA": "P", "RGBA": "RGB"}[image.mode])
    if image.mode not in ("1", "L", "P", "RGB", "F") and not image.mode.startswith("I"):
        _fail(path, f"has the colour space {image.mode}", "save it as PNG with grey levels or RGB")
    if image.format == "GIF" and image.mode == "P":  # programs number its colours as they like
        levels = np.asarray(image.convert("RGB"))
        if (levels[..., :1] == levels[..., 1:]).all():
            image = Image.fromarray(levels[..., 0])
    if image.mode in ("1", "L", "P", "RGB"):
        if content == "colors" or (content == "numbers" and image.mode == "RGB"):
            image = image.convert("RGB")
        elif content == "grey":
            image = image.convert("L")
    return np.asarray(image)


def _numbers(array: np.ndarray, content: Content, path: Path) -> np.ndarray:
    """Return H x W numbers from an array of values or colours."""
    if array.ndim == 3:
        if (array[..., :1] == array[..., 1:]).all() and content != "colors":
            return array[..., 0]
        if content == "values":
            _fail(
                path,
                "has colours, but `classes` names values",
                'name colours, such as "#804000": car, or save it with one channel',
            )
        if content == "grey":
            return np.asarray(Image.fromarray(array).convert("L"))
        return rgb_to_id(array)
    if content == "colors":
        if array.dtype.kind in "iu" and array.min() >= 0 and array.max() <= 255:
            return array.astype(np.int32) * 0x010101
        _fail(path, "has no colours, but `classes` names colours", "name the values of the mask instead")
    if content == "grey" and array.dtype == bool:
        return array * np.uint8(255)
    if array.dtype.kind == "f":
        if not np.isfinite(array).all():
            _fail(path, "has values that are not finite (nan or inf)", "replace them by numbers")
        if content == "grey":
            return array
        array = array.astype(np.float64)
        if (array != np.round(array)).any() or abs(array).max() > 2**31:
            _fail(
                path,
                "has values that are not whole numbers",
                "save whole numbers; for a mask of probabilities, set `threshold` (such as 0.5)",
            )
        return array.astype(np.int64)
    if array.dtype == np.uint64:
        if array.max() > np.iinfo(np.int64).max:
            _fail(path, f"has the value {array.max()}", "number objects and classes from 0")
        return array.astype(np.int64)
    return array


def _tiff(path: Path) -> np.ndarray | None:
    """Read a TIFF of a type that Pillow refuses or changes, such as 64 bits or -1 in 8; None for others."""
    try:
        with TiffFile(path) as file:
            page = file.pages.first
            if page.photometric == PHOTOMETRIC.MINISWHITE:
                _fail(
                    path,
                    "stores white as 0 (MinIsWhite): only some programs invert the values of such a file",
                    "save it with black as 0, in ImageJ after Image > Lookup Tables > Grays; or as PNG",
                )
            if (page.dtype in _PILLOW and not file.is_bigtiff) or page.ndim != 2:
                return None
            check_pixels(page.shape[1], page.shape[0], path)
            if len(file.pages) > 1:
                _fail(path, f"has {len(file.pages)} pages", "save a file for each page")
            return page.asarray()
    except SegbenchError:
        raise
    except Exception as error:  # tifffile raises many types; Pillow says what is wrong
        if "imagecodecs" in str(error):
            what = f"is compressed in a way that needs the package imagecodecs ({error})"
            _fail(path, what, "install the extra `tiff`, or save it without compression")
        return None


def _numpy(path: Path) -> np.ndarray:
    """Open an array without reading it. Pickled objects are refused, as they can run code."""
    try:
        loaded = np.load(path, mmap_mode="r", allow_pickle=False)
    except Exception as error:  # a broken header raises many types
        pickled = "object" in str(error).lower()
        what = "holds Python objects, which can run code, not an array of numbers" if pickled else str(error)
        _fail(
            path,
            f"is not a readable .npy file ({what})",
            "save the label map alone: `numpy.save(path, masks)`, or as PNG or TIFF",
        )
    if not isinstance(loaded, np.ndarray):
        _fail(path, "is an archive of arrays (.npz)", "save the label map alone: `numpy.save(path, masks)`")
    return loaded


def _matlab(path: Path, variable: str | None) -> np.ndarray:
    """Read a variable of a MATLAB file of version 5 to 7."""
    try:
        shapes = {name: shape for name, shape, _ in whosmat(path)}
        name, *inner = variable.split(".") if variable else [*shapes][:1] if len(shapes) == 1 else [""]
        if name not in shapes:
            known = ", ".join(f"{n} {'x'.join(map(str, s))}" for n, s in shapes.items()) or "none"
            what = f"has no variable '{name}'" if name else "has several variables"
            _fail(path, f"{what} (has: {known})", "set `key` to the variable with the mask")
        if len(shapes[name]) >= 2:
            check_pixels(shapes[name][1], shapes[name][0], path)
        value: Any = loadmat(path, variable_names=[name], simplify_cells=bool(inner))[name]
        for part in inner:
            if not isinstance(value, dict) or part not in value:
                known = ", ".join(value) if isinstance(value, dict) else "no structure"
                _fail(path, f"has no field '{part}' in '{name}' (has: {known})", "correct `key`")
            value = value[part]
        return np.asarray(value.toarray() if hasattr(value, "toarray") else value)
    except SegbenchError:
        raise
    except NotImplementedError:
        _fail(path, "is a MATLAB file of version 7.3", "save it in MATLAB with `save(..., '-v7')`")
    except Exception as error:  # loadmat raises many types on a broken file
        _fail(path, f"is not a readable MATLAB file ({error})", "save it again with `save(..., '-v7')`")
