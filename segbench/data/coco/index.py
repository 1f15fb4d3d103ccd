"""Read the annotations of single images from a large JSON file in COCO's format.

An index beside the file has the byte positions of the annotations of each image, so that a training neither
parses the whole file nor holds its objects. The JSON file stays the only place of the content.
"""

from __future__ import annotations

import hashlib
import logging
import os
import zipfile
from collections.abc import Iterable, Iterator
from functools import cached_property
from pathlib import Path
from typing import IO, Any

import numpy as np
from pydantic_core import from_json

from segbench.data.coco.jsonstream import scan
from segbench.errors import SegbenchError

log = logging.getLogger(__name__)
Place = tuple[int, int, int]
"""Image id of an annotation, its first byte, and its last byte + 1."""


def index_path(path: Path) -> Path:
    """Return the path of the index of a JSON file."""
    return path.with_suffix(".index.npz")


def write_index(path: Path, places: Iterable[Place]) -> None:
    """Write the index of a complete JSON file. `places`: its annotations, or runs of those of one image."""
    size, digest = _state(path)
    np.savez(index_path(path), runs=_runs(places), size=size, sha256=digest)


class AnnotationIndex:
    """The annotations of a JSON file by the id of their image, parsed on access.

    Args:
        path: the JSON file. If its index is missing or belongs to another content, the file is read once to
            find the positions.

    Raises:
        SegbenchError: the file is missing or is not valid JSON.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._runs = _stored(path)

    def __getitem__(self, image_id: int) -> list[dict[str, Any]]:
        """Return the annotations of an image, in the order of the file."""
        first, last = np.searchsorted(self._runs[:, 0], [image_id, image_id + 1])
        found: list[dict[str, Any]] = []
        for _, start, stop in self._runs[first:last].tolist():
            text = os.pread(self._file.fileno(), stop - start, start)  # forks share the file's position
            try:
                found += from_json(b"[" + text + b"]", cache_strings="keys")
                if any(annotation["image_id"] != image_id for annotation in found):
                    raise ValueError("they belong to another image")
            except (ValueError, KeyError, TypeError) as error:
                raise SegbenchError(
                    f"the annotations of image {image_id} are not where its index says ({error})",
                    where=self.path,
                    remedy=f"do not change the file while it is in use; remove {index_path(self.path).name}",
                ) from error
        return found

    def __getstate__(self) -> dict[str, Any]:
        return {"path": self.path, "_runs": self._runs}  # each process opens the file itself

    @cached_property
    def _file(self) -> IO[bytes]:
        return self.path.open("rb")


def _stored(path: Path) -> np.ndarray:
    """Return the runs from the index of a file, or from the file itself."""
    try:
        with np.load(index_path(path), allow_pickle=False) as stored:
            if (int(stored["size"]), str(stored["sha256"])) == _state(path):
                return stored["runs"].astype(np.int64).reshape(-1, 3)
            log.warning("%s: its index belongs to another content; reading the whole file", path)
    except FileNotFoundError:
        log.info("%s: there is no index; reading the whole file", path)
    except (OSError, ValueError, KeyError, TypeError, EOFError, zipfile.BadZipFile) as error:
        log.warning("%s: its index is not readable (%s); reading the whole file", path, error)
    return _runs(_scanned(path))


def _scanned(path: Path) -> Iterator[Place]:
    for key, value, start, stop in scan(path):
        if key == "annotations":
            yield int(value["image_id"]), start, stop


def _state(path: Path) -> tuple[int, str]:
    with path.open("rb") as file:
        return path.stat().st_size, hashlib.file_digest(file, "sha256").hexdigest()


def _runs(places: Iterable[Place]) -> np.ndarray:
    """Join annotations of one image that follow each other. Return R x 3 places, sorted by image."""
    table = np.fromiter(places, np.dtype((np.int64, 3)))
    changes = np.flatnonzero(np.diff(table[:, 0])) + 1
    firsts, lasts = np.append(0, changes), np.append(changes, len(table)) - 1
    if not len(table):
        return table
    runs = np.stack([table[firsts, 0], table[firsts, 1], table[lasts, 2]], axis=1)
    return runs[np.argsort(runs[:, 0], kind="stable")]
