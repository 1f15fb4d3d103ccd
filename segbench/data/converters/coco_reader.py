"""Read COCO's JSON files entry by entry: a file of 450 MB takes the memory of its list of images."""

from __future__ import annotations

import json
import os
import tempfile
from array import array
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Generic, TypeVar

import numpy as np
from pydantic import ValidationError
from pydantic_core import from_json

from segbench.data.coco import checks, masks
from segbench.data.coco.jsonstream import scan
from segbench.data.converters.coco_entries import (
    CategoryEntry,
    Entry,
    ImageEntry,
    ObjectEntry,
    PanopticEntry,
)
from segbench.data.converters.folder import BoxOnly
from segbench.data.faults import Faults
from segbench.errors import SegbenchError
from segbench.files import read_json

E = TypeVar("E", ObjectEntry, PanopticEntry)
V = TypeVar("V", bound=Entry)


@dataclass(frozen=True)
class Texts(Generic[E]):
    """Annotations of an image as JSON, which another process can parse. Those in the file are valid."""

    entry: type[E]
    texts: list[bytes]

    def parsed(self) -> list[E]:
        """Return the annotations."""
        return [self.entry.model_validate(from_json(text, cache_strings="keys")) for text in self.texts]


class AnnotationFile(Generic[E]):
    """A COCO file: images and categories in memory, annotations by image id, parsed on access.

    Args:
        path: the file.
        entry: type of its annotations.
        faults: collects the errors of all files.
        encoding: encoding of a file that is not in UTF-8.
    """

    def __init__(self, path: Path, entry: type[E], faults: Faults, encoding: str) -> None:
        if not path.is_file():
            raise SegbenchError("is not a file", where=path, remedy="name the annotation file in `options`")
        self.path = path
        self.entry: type[E] = entry
        self._file: IO[bytes] = path.open("rb")
        try:
            self._read(scan(path))
        except SegbenchError:  # another encoding, or damaged
            content = read_json(path, encoding)
            self._file = tempfile.TemporaryFile()  # noqa: SIM115  lives as long as this object
            self._read(_spooled(content, self._file))
        faults.add(*self._errors())

    def _read(self, found: Iterable[tuple[str, Any, int, int]]) -> None:
        self.categories: list[CategoryEntry] = []
        self.used: set[int] = set()
        """Ids of the categories of all annotations."""
        self.number = 0
        """Number of annotations."""
        self._images: list[ImageEntry] = []
        self._wrong: list[str] = []
        self._lacking: list[tuple[int, int, Any]] = []
        self._named: list[tuple[int, str]] = []
        places = array("q")
        seen = dict.fromkeys(("images", "annotations", "categories"), 0)
        for key, value, start, stop in found:
            if key in seen:
                place, seen[key] = f"{key}.{seen[key]}", seen[key] + 1
            if key == "annotations":
                entry = self._valid(self.entry, value, place)
                if entry is not None and self._is_used(entry):
                    places.extend((entry.image_id, start, stop))
            elif key == "images" and (image := self._valid(ImageEntry, value, place)):
                self._images.append(image)
            elif key == "categories" and (category := self._valid(CategoryEntry, value, place)):
                self.categories.append(category)
        self._wrong += [f"lists no {key}" for key in ("images", "categories") if not seen[key]]
        self.number = seen["annotations"]
        table = np.frombuffer(places, np.int64).reshape(-1, 3) if places else np.zeros((0, 3), np.int64)
        table = table[np.argsort(table[:, 0], kind="stable")]
        self.image_ids, self._places = table[:, 0].copy(), table[:, 1:].copy()
        self.images = {image.id: image for image in self._images}

    def _valid(self, kind: type[V], value: Any, place: str) -> V | None:
        try:
            return kind.model_validate(value)
        except ValidationError as error:
            self._wrong.append(_fault(error, place))
            return None

    def _is_used(self, entry: Any) -> bool:
        """Note the categories of an annotation; return whether it is to be read."""
        raise NotImplementedError

    def _errors(self) -> Iterator[SegbenchError]:
        if self._wrong:
            yield SegbenchError(
                f"is not as expected ({self._wrong[0]}{checks.more(self._wrong)})",
                where=self.path,
                remedy="fix it, or fetch it again",
            )
            return
        try:
            checks.unique_ids(((i.id, i.file_name) for i in self._images), "image", self.path)
            checks.unique_names(((i.id, i.file_name) for i in self._images), "image", self.path)
            checks.unique_ids(((c.id, c.name) for c in self.categories), "category", self.path)
        except SegbenchError as error:
            yield error
        if unknown := sorted(set(self.image_ids.tolist()) - set(self.images)):
            yield not_listed("image", unknown, self.path)

    def of(self, image_id: int) -> Texts[E]:
        """Return the annotations of an image."""
        first, last = np.searchsorted(self.image_ids, [image_id, image_id + 1])
        places = self._places[first:last].tolist()
        found = [os.pread(self._file.fileno(), stop - start, start) for start, stop in places]
        return Texts(self.entry, found)


class ObjectFile(AnnotationFile[ObjectEntry]):
    """An instance file. `boxes`: see the option of the converter."""

    def __init__(self, path: Path, faults: Faults, encoding: str, *, boxes: BoxOnly) -> None:
        self.boxes = boxes
        super().__init__(path, ObjectEntry, faults, encoding)

    @property
    def skipped(self) -> int:
        """Number of objects that are skipped because they have no outline, or no box."""
        return len(self._lacking)

    def _is_used(self, entry: ObjectEntry) -> bool:
        if entry.bbox is None if self.boxes == "truth" else not masks.has_outline(entry.segmentation):
            self._lacking.append((entry.id, entry.image_id, entry.segmentation))
            return False
        self.used.add(entry.category_id)
        return True

    def _errors(self) -> Iterator[SegbenchError]:
        yield from super()._errors()
        if not self._lacking or self.boxes == "skip" or self._wrong:
            return
        number, image, outline = self._lacking[0]
        if self.boxes == "truth":
            yield SegbenchError(
                f"{len(self._lacking)} of {self.number} objects have no box, first annotation {number} of "
                f"image {image}",
                where=self.path,
                remedy="add their `bbox`, or remove the objects",
            )
        else:
            yield SegbenchError(
                f"{len(self._lacking)} of {self.number} objects have no outline, first annotation {number} "
                f"of image {image} (segmentation: {checks.shown(outline)})",
                where=self.path,
                remedy="outline these objects, or skip them with `options: {boxes: skip}`; or use all boxes "
                "and no masks: `boxes: truth`, for the task detection",
            )


class PanopticFile(AnnotationFile[PanopticEntry]):
    """A panoptic file."""

    def __init__(self, path: Path, faults: Faults, encoding: str) -> None:
        super().__init__(path, PanopticEntry, faults, encoding)

    def _is_used(self, entry: PanopticEntry) -> bool:
        self.used.update(segment.category_id for segment in entry.segments_info)
        self._named.append((entry.image_id, entry.file_name))
        return True

    def _errors(self) -> Iterator[SegbenchError]:
        yield from super()._errors()
        try:
            checks.unique_ids(self._named, "annotation of image", self.path)
        except SegbenchError as error:
            yield error


def _fault(error: ValidationError, place: str) -> str:
    """Return the first fault of an entry, and where it is: `place` is that of the entry."""
    first = error.errors()[0]
    return f"{first['msg']} at {'.'.join(map(str, (place, *first['loc'])))}"


def not_listed(kind: str, numbers: list[int], path: Path) -> SegbenchError:
    """Return the error for ids that annotations have, but the file does not list."""
    return SegbenchError(
        f"an annotation has {kind} {numbers[0]}, which is not listed{checks.more(numbers)}",
        where=path,
        remedy="fix the file, or fetch it again",
    )


def flat(content: Any) -> Iterator[tuple[str, Any]]:
    """Yield the entries of the top-level object; those of an array one by one."""
    for key, value in content.items() if isinstance(content, dict) else ():
        yield from ((key, entry) for entry in (value if isinstance(value, list) else [value]))


def _spooled(content: Any, file: IO[bytes]) -> Iterator[tuple[str, Any, int, int]]:
    """Write the entries to a file in UTF-8, and yield them as `scan`."""
    for key, entry in flat(content):
        start = file.tell()
        file.write(json.dumps(entry).encode())
        yield key, entry, start, file.tell()
    file.flush()
