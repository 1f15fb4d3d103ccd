"""Read and write TIFF files that Pillow does not: several channels or pages, types of more than 8 bits."""

from __future__ import annotations

import logging
import struct
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import tifffile

from segbench.contract.channels import MAX_CHANNELS
from segbench.errors import SegbenchError

logging.getLogger("tifffile").setLevel(logging.CRITICAL)  # damaged files are errors, which are raised
_MAGIC = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
_PILLOW_COLOURS = {2, 3, 5, 6, 8}
"""Photometric interpretations of colours: RGB, palette, CMYK, YCbCr, CIELab."""
_ALPHA = {1, 2}
"""Values of the tag ExtraSamples for alpha, premultiplied or not."""

Size = tuple[int, int]
"""Height, width."""


@dataclass
class Tiff:
    """The pixels of a TIFF file.

    Attributes:
        array: H x W x C, of the stored type.
        rgb: whether the first three channels are red, green and blue.
        alpha: whether the last channel is opacity.
        orientation: value of the tag Orientation.
        labelled: whether the file says which axis has the channels.
    """

    array: np.ndarray
    rgb: bool
    alpha: bool
    orientation: int
    labelled: bool


def is_tiff(path: Path) -> bool:
    """Return whether a file starts as TIFF files do."""
    with path.open("rb") as file:
        return file.read(4) in _MAGIC


def read_tiff(
    path: Path, channels: int | None, size: Size | None, check: Callable[[int, int], None]
) -> Tiff | None:
    """Read a TIFF file, or return None if Pillow reads it: one page, of grey values or 8-bit colours.

    Pages and planes of one size are the channels.

    Args:
        path: the file.
        channels: number of channels that the image should have; None if unknown.
        size: height and width that the image should have; None if unknown.
        check: called with height and width before pixels are decoded; raises if these are too large.

    Raises:
        SegbenchError: the axes are ambiguous, or the file needs a codec that is not installed.
        ValueError, OSError, and others of tifffile: the file is damaged.
    """
    with tifffile.TiffFile(path) as file:
        page = file.pages.first
        first = file.series[0]
        series = [s for s in file.series if (s.shape, s.dtype) == (first.shape, first.dtype)]
        shape, axes = first.shape, first.axes
        if len(series) > 1:
            shape, axes = (len(series), *shape), f"I{axes}"
        if _for_pillow(page, axes, shape, series[0].dtype):
            return None
        place = channel_axis(axes, shape, channels, size, path)
        height, width = (n for k, n in enumerate(shape) if k != place and not _is_single(k, axes, shape))
        check(height, width)
        if place is not None and shape[place] > MAX_CHANNELS + 1:  # one more for alpha
            raise SegbenchError(
                f"has {shape[place]} channels or pages; up to {MAX_CHANNELS} are supported",
                where=path,
                remedy="save its channels without the others, or its pages as files of their own",
            )
        try:
            array = np.stack([s.asarray(maxworkers=1) for s in series]) if len(series) > 1 else None
            array = series[0].asarray(maxworkers=1) if array is None else array
        except ValueError as error:
            if "imagecodecs" not in str(error):
                raise
            codec = tifffile.COMPRESSION(page.compression).name
            raise SegbenchError(
                f"is compressed as {codec}, which needs the package imagecodecs",
                where=path,
                remedy="install segbench with the extra `tiff`, or save the file with deflate compression",
            ) from error
        tag = page.tags.get("Orientation")
        extra = [int(e) for e in page.extrasamples]
        array = array.reshape(shape) if place is None else np.moveaxis(array.reshape(shape), place, -1)
        array = array.reshape(height, width, -1)
        return Tiff(
            array=array.astype(array.dtype.newbyteorder("="), copy=False),
            rgb=int(page.photometric) == 2,
            alpha="S" in axes and bool(extra) and extra[-1] in _ALPHA,
            orientation=int(tag.value) if tag is not None else 1,
            labelled=place is None or axes[place] in "SC",
        )


def _for_pillow(page: tifffile.TiffPage, axes: str, shape: tuple[int, ...], dtype: np.dtype | None) -> bool:
    """Return whether Pillow reads all that the file has."""
    if any(n > 1 and axis not in "YXS" for n, axis in zip(shape, axes)):
        return False
    if dtype is None or (page.samplesperpixel == 1 and int(page.photometric) != 3):
        return dtype is None or dtype.kind == "b" or dtype.str[1:] in ("u1", "u2", "i2", "i4", "f4")
    extra = [int(e) for e in page.extrasamples]
    grey_and_alpha = page.samplesperpixel == 2 and extra[:1] and extra[0] in _ALPHA
    colours = int(page.photometric) in _PILLOW_COLOURS and page.samplesperpixel <= 4
    return dtype.str[1:] == "u1" and bool(grey_and_alpha or colours)


def _is_single(place: int, axes: str, shape: tuple[int, ...]) -> bool:
    """Return whether an axis has one value only and is neither height nor width."""
    return shape[place] == 1 and len(shape) > 2 and axes[place] not in "YX"


def page_size(path: Path) -> tuple[int, int]:
    """Return width and height of the first page."""
    with tifffile.TiffFile(path) as file:
        return int(file.pages.first.imagewidth), int(file.pages.first.imagelength)


def channel_axis(
    axes: str, shape: tuple[int, ...], channels: int | None, size: Size | None, where: Path | str
) -> int | None:
    """Find the axis of the channels.

    An axis that the file labels as samples (S) or channels (C) is it. Otherwise it is the axis without which
    the rest is the size of the truth; without a known size, the axis as long as there are channels, or the
    only one of at most 16 values.

    Args:
        axes: tifffile's letter of each axis, such as `YXS`, `CYX`, `IYX` or `QYX`.
        shape: length of each axis.
        channels: number of channels that the image should have, or None.
        size: height and width that the image should have, or None.
        where: what messages name.

    Returns:
        Its number, or None if the image is H x W.

    Raises:
        SegbenchError: no axis or several axes fit.
    """
    places = [k for k in range(len(shape)) if not _is_single(k, axes, shape)]
    if len(places) == 2:
        return None
    text = f"its axes {axes} have {' x '.join(map(str, shape))} values"
    remedy = "save it as H x W x C (one page, several samples a pixel) or as C x H x W with labelled axes"
    if len(places) != 3:
        raise SegbenchError(
            f"is not an image with channels: {text}",
            where=where,
            remedy=f"{remedy}, without further axes",
        )
    labelled = [k for k in places if axes[k] in "SC"]
    if len(labelled) == 1:
        return labelled[0]
    rest = {k: tuple(shape[p] for p in places if p != k) for k in places}
    fits = [k for k in places if shape[k] == channels]
    if size is not None:
        sized = [k for k in places if rest[k] == size] or [k for k in places if rest[k] == size[::-1]]
        if not sized:
            raise SegbenchError(
                f"is not an image of {size[1]}x{size[0]} pixels, as its truth: {text}",
                where=where,
                remedy="annotate the image at its own size, or remove image and annotation from the dataset",
            )
        fits = sized if len(sized) == 1 else [k for k in sized if k in fits]
    elif channels is None:
        fits = [k for k in places if shape[k] <= MAX_CHANNELS]
    elif not fits:
        raise SegbenchError(
            f"no axis has the {channels} channels that are expected: {text}",
            where=where,
            remedy=f"correct the number of channels, or {remedy}",
        )
    if len(fits) != 1:
        raise SegbenchError(f"which axis has the channels is ambiguous: {text}", where=where, remedy=remedy)
    return fits[0]


def write_tiff(path: Path, array: np.ndarray) -> None:
    """Write an H x W or H x W x C array as one page, losslessly; the bytes depend on the array only."""
    tifffile.imwrite(
        path,
        array,
        photometric="minisblack",
        planarconfig="contig" if array.ndim == 3 else None,
        compression="zlib",
        metadata=None,
        software=False,
    )


DAMAGED = (OSError, ValueError, KeyError, IndexError, TypeError, AttributeError, RuntimeError, struct.error)
"""What tifffile raises for damaged files."""
