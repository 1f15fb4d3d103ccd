"""Rows of tables and JSON arrays that grow with the inputs, on the disk."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TextIO


class Rows:
    """Lines on the disk. Those of an input that fails are taken back.

    Args:
        path: file to write.
    """

    def __init__(self, path: Path) -> None:
        # file names need not be valid text
        self._file = path.open("w+", encoding="utf-8", errors="surrogateescape", newline="")

    def write(self, text: str) -> None:
        """Append text."""
        self._file.write(text)

    def append(self, value: dict[str, Any]) -> None:
        """Append a line of JSON."""
        self._file.write(json.dumps(value) + "\n")

    @contextmanager
    def input(self) -> Iterator[None]:
        """Take back what was appended in the block if it raises."""
        start = self._file.tell()
        try:
            yield
        except BaseException:
            self._file.seek(start)
            self._file.truncate()
            raise

    def copy_array(self, target: TextIO) -> None:
        """Write all lines as a JSON array."""
        target.write("[")
        for number, line in enumerate(self._lines()):
            target.write((",\n" if number else "\n") + line.rstrip("\n"))
        target.write("\n]")

    def copy(self, target: TextIO) -> None:
        """Write all lines."""
        target.writelines(self._lines())

    def _lines(self) -> Iterator[str]:
        self._file.seek(0)
        yield from self._file
        self._file.close()
