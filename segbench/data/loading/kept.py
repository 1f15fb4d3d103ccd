"""Decoded images and label maps of a split, kept in a file that is mapped into memory.

All processes that open the file share its pages. These belong to the page cache of the system, which drops
them when memory is needed, and reads them again.
"""

from __future__ import annotations

import logging
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np

from segbench import quota, units
from segbench.contract.view import View
from segbench.data.dataset import ImageRecord, Split
from segbench.data.loading.decoding import read_colours, read_labels, read_pixels
from segbench.errors import SegbenchError
from segbench.files import read_json, write_json

log = logging.getLogger(__name__)
ALIGNMENT = 64
SAMPLE = 8
"""Number of images whose size is taken for that of all, before all are decoded."""


class Kept(Mapping[Path, np.ndarray]):
    """Arrays by the path of the file that they were decoded from; they are read-only.

    Type, shape and strides are those of the decoded array, so that what is computed from it is the same to
    the bit.

    Args:
        path: file that `keep` has written.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._places: dict[str, Any] = read_json(path.with_suffix(".json"))
        self._memory = np.memmap(path, np.uint8, "r")

    def __reduce__(self) -> tuple[type[Kept], tuple[Path]]:
        return Kept, (self._path,)

    def __getitem__(self, path: Path) -> np.ndarray:
        start, kind, shape, strides = self._places[_key(path)]
        known = self._memory[start : start + _span(np.dtype(kind), shape, strides)].view(kind)
        return np.lib.stride_tricks.as_strided(known, shape, strides, writeable=False)

    def __iter__(self) -> Iterator[Path]:
        return map(Path, self._places)

    def __len__(self) -> int:
        return len(self._places)


def keep(split: Split, view: View, folder: Path) -> Kept | None:
    """Decode the images of a split and the maps of their truth, and keep them in a folder.

    Files that cannot be read are skipped. The training reports the error when it reads them.

    Args:
        split: the images.
        view: the task, which decides the maps.
        folder: an empty folder.

    Returns:
        The arrays; None if they need more than half of the free memory, or more than the free disk space: a
        warning says so.
    """
    limit = min(quota.free_memory() // 2, shutil.disk_usage(folder).free)
    places = np.linspace(0, len(split) - 1, min(SAMPLE, len(split))).round().astype(int)
    sample = sum(_flat(array).nbytes for place in places for _, array in _decoded(split, view, place))
    needed = sample * len(split) // len(places)
    if needed <= limit and (kept := _written(split, view, folder / "decoded.bin", limit)) is not None:
        return kept
    log.warning(
        "cache: ram is not used: the %d images of %s need %s decoded, and %s may be used (half of the free"
        " memory, or what is free on the disk)",
        *(len(split), split.name, units.memory(needed), units.memory(limit)),
    )
    return None


def _written(split: Split, view: View, path: Path, limit: int) -> Kept | None:
    index: dict[str, Any] = {}
    with path.open("wb") as file:
        for place in range(len(split)):
            for name, array in _decoded(split, view, place):
                file.write(b"\0" * (-file.tell() % ALIGNMENT))
                index[_key(name)] = [file.tell(), array.dtype.str, array.shape, array.strides]
                file.write(_flat(array).data)
            if file.tell() > limit:
                return None
        size = file.tell()
    if not size:
        return None
    write_json(path.with_suffix(".json"), index)
    log.info("cache: ram keeps %d images of %s decoded, in %s", len(split), split.name, units.memory(size))
    return Kept(path)


def _decoded(split: Split, view: View, place: int) -> Iterator[tuple[Path, np.ndarray]]:
    """Yield the arrays of an image with the paths of their files."""
    record = split.images[place]
    for path, read in _files(split, view, record).items():
        with suppress(SegbenchError):
            array = read()
            yield path, array if min(array.strides) >= 0 else array.copy()


def _files(split: Split, view: View, record: ImageRecord) -> dict[Path, Callable[[], np.ndarray]]:
    files: dict[Path, Callable[[], np.ndarray]] = {record.path: lambda: read_pixels(split, record).numpy()}
    if view.task == "panoptic":
        path = split.panoptic_folder / f"{record.stem}.png"
        files[path] = lambda: read_colours(path)
    elif view.task != "detection":
        path = split.semantic_path(record.stem)
        files[path] = lambda: read_labels(path)
    return files


def _key(path: Path) -> str:
    return f"{path.parent.name}/{path.name}"


def _span(kind: np.dtype[Any], shape: tuple[int, ...], strides: tuple[int, ...]) -> int:
    """Return the bytes from the first to the last value of an array."""
    return sum((n - 1) * step for n, step in zip(shape, strides)) + kind.itemsize


def _flat(array: np.ndarray) -> np.ndarray:
    """Return the bytes of an array, in the order in which it has them in memory; gaps are 0."""
    flat = np.zeros(_span(array.dtype, array.shape, array.strides), np.uint8)
    np.lib.stride_tricks.as_strided(flat.view(array.dtype), array.shape, array.strides)[...] = array
    return flat
