"""Write the JSON files of a split. Ids follow the sorted file names, which are known only at the end."""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from segbench.contract.view import Category
from segbench.data.coco.index import Place, write_index


class _List:
    """A JSON array that is written entry by entry."""

    def __init__(self, file: IO[bytes]) -> None:
        self.file, self._empty = file, True

    def add(self, entry: bytes) -> tuple[int, int]:
        """Write an entry, in JSON. Return its first byte and its last byte + 1."""
        self.file.write(b"\n" if self._empty else b",\n")
        self._empty = False
        start = self.file.tell()
        return start, start + self.file.write(entry)


class JsonFile:
    """A file in COCO's format that is being written: its `images` and its `annotations`."""

    def __init__(self, images: IO[bytes], annotations: IO[bytes]) -> None:
        self.images, self._annotations = _List(images), _List(annotations)
        self.places: list[Place] = []
        """Of the annotations of each image."""

    def add_annotation(self, image_id: int, entry: bytes) -> None:
        start, stop = self._annotations.add(entry)
        if self.places and self.places[-1][0] == image_id:
            start = self.places.pop()[1]
        self.places.append((image_id, start, stop))


@contextmanager
def json_file(path: Path, categories: Iterable[Category]) -> Iterator[JsonFile]:
    """Write a file in COCO's format and its index. Annotations are in a temporary file until the end."""
    with path.open("wb") as file, tempfile.TemporaryFile(dir=path.parent) as later:
        file.write(b'{"images": [')
        listed = JsonFile(file, later)
        yield listed
        file.write(b']\n,"annotations": [')
        moved = file.tell()
        later.seek(0)
        shutil.copyfileobj(later, file, 1 << 20)
        file.write(b']\n,"categories": [')
        classes = _List(file)
        for category in categories:
            entry = category.model_dump() | {"isthing": int(category.isthing)}
            classes.add(json.dumps(entry).encode())
        file.write(b"]\n}\n")
    write_index(path, ((image, start + moved, stop + moved) for image, start, stop in listed.places))
