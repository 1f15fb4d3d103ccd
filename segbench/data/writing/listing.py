"""Write the JSON files of a split. Ids follow the sorted file names, which are known only at the end."""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from segbench.contract.view import Category


class _List:
    """A JSON array that is written entry by entry."""

    def __init__(self, file: IO[bytes]) -> None:
        self.file, self._empty = file, True

    def add(self, entry: Any) -> None:
        self.file.write((b"\n" if self._empty else b",\n") + json.dumps(entry).encode())
        self._empty = False


class JsonFile:
    """A file in COCO's format that is being written: its `images` and its `annotations`."""

    def __init__(self, images: IO[bytes], annotations: IO[bytes]) -> None:
        self.images, self.annotations = _List(images), _List(annotations)


@contextmanager
def json_file(path: Path, categories: Iterable[Category]) -> Iterator[JsonFile]:
    """Write a file in COCO's format in one pass; annotations are in a temporary file until the end."""
    with path.open("wb") as file, tempfile.TemporaryFile(dir=path.parent) as later:
        file.write(b'{"images": [')
        yield JsonFile(file, later)
        file.write(b']\n,"annotations": [')
        later.seek(0)
        shutil.copyfileobj(later, file, 1 << 20)
        file.write(b']\n,"categories": [')
        listed = _List(file)
        for category in categories:
            listed.add(category.model_dump() | {"isthing": int(category.isthing)})
        file.write(b"]\n}\n")
