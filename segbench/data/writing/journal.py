"""The record of images that are finished, from which a conversion that was killed continues."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from pydantic_core import from_json


class Texts(NamedTuple):
    """JSON of what is written of an image at the end. Empty: the image has no such part."""

    image: bytes
    """Its entry in `images`, without the id."""
    statistics: bytes
    """State of its `ChannelStatistics`."""
    slice: bytes
    segments: bytes
    """Its `segments_info`."""
    second: bytes
    """List of the objects of a second annotation, each without ids."""
    instances: Sequence[bytes]
    """Its annotations, each without ids."""


class Written(NamedTuple):
    """What is recorded of an image whose files are written."""

    head: dict[str, Any]
    """`number` (place among the samples), `split`, `stem`, `file_name`, and what the summary needs."""
    texts: Texts


class Journal:
    """A file with one line for each finished image: its head and its texts, all JSON, with tabs between.

    JSON has no tab. A line is complete when it ends, so whatever a killed process left after the last end of
    line is removed.
    """

    def __init__(self, path: Path) -> None:
        self._file = path.open("a+b")

    def __enter__(self) -> Journal:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def heads(self) -> Iterator[tuple[int, dict[str, Any]]]:
        """Yield the position and the head of each image, and remove an incomplete last line."""
        self._file.seek(0)
        position = 0
        for line in self._file:
            if not line.endswith(b"\n"):
                self._file.truncate(position)
                return
            yield position, from_json(line.partition(b"\t")[0])
            position += len(line)

    def add(self, image: Written) -> int:
        """Record an image and return its position."""
        position = self._file.seek(0, 2)
        *texts, instances = image.texts
        self._file.write(b"\t".join([json.dumps(image.head).encode(), *texts, *instances]) + b"\n")
        self._file.flush()
        return position

    def read(self, position: int) -> Written:
        """Return the image at a position."""
        self._file.seek(position)
        line = self._file.readline()[:-1].split(b"\t")
        head, image, statistics, place, segments, second, *instances = line
        return Written(from_json(head), Texts(image, statistics, place, segments, second, instances))
