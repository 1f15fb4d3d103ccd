"""Stack several files into one image: a modality, band or stain each."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from segbench.data.dataset import Orientation
from segbench.data.images import open_raster, upright
from segbench.errors import SegbenchError

_TYPES = (np.uint8, np.uint16, np.int16, np.float32)
"""Types of a `Sample`'s array, narrow ones first."""


_FIELD = re.compile(r"\{([^{}]*)\}")


def further_paths(texts: Sequence[str], fields: Mapping[str, str], where: str) -> list[str]:
    """Write the fields of an image into the patterns of its further files.

    Args:
        texts: patterns such as `perfusion/{name}_MTT.tif`.
        fields: text of each field.
        where: what the error names, such as the option.

    Raises:
        SegbenchError: a pattern has no field, a field that `fields` lacks, or a wildcard.
    """
    for text in texts:
        names = _FIELD.findall(text)
        if not names or set(names) - set(fields) or re.search(r"[*?{}]", _FIELD.sub("", text)):
            known = ", ".join(f"{{{name}}}" for name in fields)
            raise SegbenchError(
                f"{text!r} does not name one file of each image",
                where=where,
                remedy=f"write a path with fields of the image ({known}) and without wildcards",
            )
    return [_FIELD.sub(lambda match: fields[match[1]], text) for text in texts]


def stacked(
    files: Sequence[Path], orientation: Orientation, where: Path | str, size: tuple[int, int] | None = None
) -> np.ndarray:
    """Stack images of one size along their channels, in the given order, with their values as stored.

    Args:
        files: one or more images, of one or several channels each; alpha is dropped.
        orientation: orientation of the result.
        where: what the error names if there are several errors, such as the name of the sample.
        size: expected height and width, which tell the axes of TIFF files apart; None: unknown.

    Returns:
        H x W x C of the narrowest of uint8, uint16, int16 and float32 that has all values. Floats of 64 bits
        are rounded to 32.

    Raises:
        SegbenchError: files are missing or broken, differ in size, or have integers that float32 cannot hold.
            It names all of them.
    """
    arrays: list[np.ndarray] = []
    faults: list[SegbenchError] = []
    for file in files:
        try:
            if not file.is_file():
                raise SegbenchError("is missing", where=file, remedy="add it, or remove the image")
            raster = open_raster(file, None, size=size)
            arrays.append((upright(raster) if orientation == "upright" else raster).array)
        except SegbenchError as error:
            faults.append(error)
    if not faults and len({array.shape[:2] for array in arrays}) > 1:
        sizes = ", ".join(f"{f.name} {a.shape[1]}x{a.shape[0]}" for f, a in zip(files, arrays, strict=True))
        faults.append(
            SegbenchError(
                f"the channels differ in size: {sizes}",
                where=where,
                remedy="resample them to one size, on one grid",
            )
        )
    if len(faults) == 1:
        raise faults[0]
    if faults:
        listed = "".join(f"\n  {error.where}: {error.what}" for error in faults)
        raise SegbenchError(f"{len(faults)} of its {len(files)} files cannot be used:{listed}", where=where)
    joined = np.concatenate([a.astype(_type_of(a, f)) for a, f in zip(arrays, files, strict=True)], axis=2)
    return joined.astype(_type_of(joined, where), copy=False)


def _type_of(array: np.ndarray, where: Path | str) -> type[np.generic]:
    """Return the narrowest type that has all values of an array."""
    if array.dtype.kind == "f":
        return np.float32
    low, high = int(array.min()), int(array.max())
    for kind in _TYPES[:3]:
        if np.iinfo(kind).min <= low and high <= np.iinfo(kind).max:
            return kind
    if max(-low, high) > 2**24:
        raise SegbenchError(
            f"has integers from {low} to {high}, which float32 cannot hold",
            where=where,
            remedy="save it with 16 bits, or as 32-bit floats",
        )
    return np.float32
