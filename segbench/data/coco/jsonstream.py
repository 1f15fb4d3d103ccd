"""Read large JSON files, whose top level has arrays of records, without loading them whole."""

from __future__ import annotations

import codecs
import json
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from pydantic_core import from_json

from segbench.data.coco import checks
from segbench.errors import SegbenchError

_CHUNK = 1 << 20
_MARK = codecs.BOM_UTF8.decode("latin-1")
_SPACE = re.compile(r"[\s,:]*")
_END = re.compile(r"[\s,:\]}]")


class _Scanner:
    """Decodes one value after the other.

    The file is read as Latin-1, in which each byte is a character. Values beyond ASCII are decoded again.
    """

    def __init__(self, path: Path) -> None:
        self._path, self._file = path, path.open(encoding="latin-1", newline="")
        self._decoder, self._text, self._at, self._start = json.JSONDecoder(), "", 0, 0

    @property
    def offset(self) -> int:
        """Byte position of the next value."""
        return self._start + self._at

    def peek(self) -> str:
        """Return the next character that is neither space nor separator; "" at the end of the file."""
        while True:
            match = _SPACE.match(self._text, self._at)
            assert match is not None
            self._at = match.end()
            if self._at < len(self._text) or not self._read():
                return self._text[self._at : self._at + 1]

    def skip(self) -> None:
        self._at += 1

    def skip_mark(self) -> None:
        """Skip a byte order mark, which Windows programs write before the text."""
        self.peek()
        if self._text.startswith(_MARK):
            self._at = len(_MARK)

    def value(self) -> Any:
        self.peek()
        while True:
            try:
                value, end = self._decoder.raw_decode(self._text, self._at)
            except RecursionError as error:
                raise _malformed(self._path, "too many brackets inside each other") from error
            except json.JSONDecodeError as error:
                if self._read():
                    continue
                raise _malformed(self._path, str(error)) from error
            if not _END.match(self._text, end) and self._read():
                continue  # the number may continue
            # the decoder of the standard library accepts halves of surrogate pairs (\ud800)
            if not self._text.isascii() or self._text.find("\\u", self._at, end) >= 0:
                value = self._parse(self._text[self._at : end])
            self._at = end
            return value

    def _parse(self, text: str) -> Any:
        try:
            return from_json(text.encode("latin-1"))
        except ValueError as error:
            raise _malformed(self._path, str(error)) from error

    def _read(self) -> bool:
        more = self._file.read(max(_CHUNK, len(self._text) - self._at))
        self._start += self._at
        self._text, self._at = self._text[self._at :] + more, 0
        return bool(more)

    def close(self) -> None:
        self._file.close()


def _malformed(path: Path, why: str) -> SegbenchError:
    return SegbenchError(f"is not valid JSON ({why})", where=path, remedy="write or fetch it again")


def scan(path: Path) -> Iterator[tuple[str, Any, int, int]]:
    """Yield the entries of the top-level object; those of an array one by one.

    Yields:
        Key, value, first byte and last byte + 1.

    Raises:
        SegbenchError: the file is unreadable or not valid JSON.
    """
    scanner = _opened(path)
    try:
        if scanner.peek() != "{":
            raise _malformed(path, "the top level is not an object")
        scanner.skip()
        while scanner.peek() != "}":
            key = scanner.value()
            if scanner.peek() != "[":
                start = scanner.offset
                yield key, scanner.value(), start, scanner.offset
                continue
            for value, start in _entries(scanner):
                yield key, value, start, scanner.offset
    finally:
        scanner.close()


def scan_results(path: Path) -> Iterator[Any]:
    """Yield the entries of a file of COCO results: of the top-level array, or of `annotations` of an object.

    Raises:
        SegbenchError: the file is unreadable, not valid JSON, or has no such array.
    """
    scanner = _opened(path)
    first = scanner.peek()
    if first == "[":
        try:
            for value, _ in _entries(scanner):
                yield value
        finally:
            scanner.close()
        return
    scanner.close()
    for key, value, _, _ in scan(path):
        if key == "annotations":
            yield value


def _opened(path: Path) -> _Scanner:
    try:
        scanner = _Scanner(path)
    except OSError as error:
        raise SegbenchError(
            f"cannot be read ({error.strerror})", where=path, remedy="check its path and permissions"
        ) from error
    scanner.skip_mark()
    return scanner


def _entries(scanner: _Scanner) -> Iterator[tuple[Any, int]]:
    """Yield the entries of the array that comes next, and the first byte of each."""
    scanner.skip()
    while scanner.peek() != "]":
        start = scanner.offset
        yield scanner.value(), start
    scanner.skip()


def _number(entry: Any, key: str, what: str, path: Path) -> int:
    """Return an id of an entry."""
    value = entry.get(key) if isinstance(entry, dict) else None
    try:
        return checks.whole(value)
    except ValueError as error:
        raise SegbenchError(
            f"{what} has no {key}" if value is None else f"{what}: {key} is {error}",
            where=path,
            remedy=f"give each its {key}, a number without quotes",
        ) from error


class Records:
    """A mapping from `image_id` to annotation. Each annotation is parsed on access."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.categories: list[Any] = []
        places: list[tuple[int, int, int]] = []
        images: list[tuple[int, Any]] = []
        for key, value, start, stop in scan(path):
            if key == "annotations":
                places.append(
                    (_number(value, "image_id", f"annotation {len(places) + 1}", path), start, stop)
                )
            elif key == "images":
                number = _number(value, "id", f"image {len(images) + 1}", path)
                images.append((number, value.get("file_name")))
            elif key == "categories":
                self.categories.append(value)
        self.images = checks.unique_ids(images, "image", path)
        """File names by id."""
        table = np.array(sorted(places), np.int64).reshape(-1, 3)
        self.image_ids, self._places = table[:, 0], table[:, 1:]
        self._file = path.open("rb")
        twice = np.flatnonzero(np.diff(self.image_ids) == 0)
        if len(twice):
            raise SegbenchError(
                f"image {self.image_ids[twice[0]]} is annotated twice",
                where=path,
                remedy="keep one of the annotations",
            )

    def __len__(self) -> int:
        return len(self.image_ids)

    def __iter__(self) -> Iterator[int]:
        return iter(self.image_ids.tolist())

    def __contains__(self, image_id: Any) -> bool:
        at = int(np.searchsorted(self.image_ids, image_id))
        return at < len(self.image_ids) and self.image_ids[at] == image_id

    def __getitem__(self, image_id: int) -> dict[str, Any]:
        start, stop = self._places[np.searchsorted(self.image_ids, image_id)]
        return from_json(
            os.pread(self._file.fileno(), stop - start, start)
        )  # forks share the file's position
