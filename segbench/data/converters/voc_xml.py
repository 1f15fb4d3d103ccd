"""Boxes in Pascal VOC's XML, one file for each image. Everingham et al. 2010.

Pascal VOC's own folders have `Annotations`, `JPEGImages` and the lists `ImageSets/Main/<split>.txt`. LabelImg
and other programs write the XML file beside the image. Objects that are `difficult` are crowds: the
evaluation ignores them, and they are not trained. Parts of objects are skipped. Images are read upright, as
annotation programs show them.

Splits: the lists if there are any; else the subfolders train, val and test; else `test` or `test_fraction`.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal
from xml.etree.ElementTree import Element

from segbench.data.converters.common import categories, inside, parse_options, read_lines
from segbench.data.converters.folder import (
    FolderOptions,
    evaluation_split,
    image_named,
    label_fault,
    name_another,
    no_image,
    number,
    root_of,
    split_folders,
    unannotated,
)
from segbench.data.converters.splits import SPLITS, divided
from segbench.data.converters.xml_files import FIX, read_xml
from segbench.data.dataset import Archives, Converted, Division, Sample
from segbench.data.faults import Faults
from segbench.data.images import IMAGE_SUFFIXES
from segbench.data.junk import listed
from segbench.errors import SegbenchError

ANNOTATIONS, IMAGES = "Annotations", ("JPEGImages", "images", "Images")
SIDES = ("xmin", "ymin", "xmax", "ymax")


class Options(FolderOptions):
    origin: Literal[0, 1] | None = None
    """1: pixels are counted from 1 and a box includes the last one, as in Pascal VOC. 0: corners are counted
    from 0, as CVAT and Roboflow write them. null: 1, and an error if a coordinate is less."""


@dataclass
class _Box:
    label: str
    corners: tuple[float, float, float, float]
    difficult: bool


@dataclass
class _Entry:
    """One image, and its XML file if it has one."""

    image: Path
    name: str
    split: str
    source: Path | None = None
    size: tuple[int, int] | None = None
    boxes: tuple[_Box, ...] = ()
    group: str | None = None


def convert(archives: Archives, options: dict[str, Any]) -> Converted:
    """Convert the folder. Options: see `Options`."""
    chosen = parse_options(Options, options)
    root = root_of(archives, chosen)
    folder = _Folder(root, chosen)
    entries = folder.entries()
    labels = chosen.labels or sorted({box.label for entry in entries for box in entry.boxes})
    if not any(entry.boxes for entry in entries):
        raise SegbenchError(
            "has no object in any .xml file",
            where=root,
            remedy="check that it is a folder of Pascal VOC's XML",
        )
    return Converted(
        categories=categories(labels, isthing=True),
        background=False,
        evaluation_split=evaluation_split([entry.split for entry in entries]),
        orientation="upright",
        boxes=True,
        division=folder.division,
        samples=_samples(entries, labels, chosen),
    )


def _samples(entries: Sequence[_Entry], labels: Sequence[str], options: Options) -> Iterator[Sample]:
    first = 0 if options.origin == 0 else 1
    for entry in entries:
        instances = []
        for box in entry.boxes:
            x0, y0, x1, y1 = box.corners
            corner = [x0 - first, y0 - first, x1 - x0 + first, y1 - y0 + first]
            category = labels.index(box.label) + 1
            instances.append({"category_id": category, "bbox": corner, "iscrowd": int(box.difficult)})
        yield Sample(
            entry.split,
            entry.name,
            entry.image,
            instances=instances,
            size=entry.size,
            group=entry.group,
            source=entry.source,
        )


class _Folder:
    def __init__(self, root: Path, options: Options) -> None:
        self.root, self.options, self.faults = root, options, Faults()
        self.images: dict[tuple[Path, str], list[Path]] = defaultdict(list)
        for path in listed(root, "**/*"):
            if path.suffix.lower() in IMAGE_SUFFIXES:
                self.images[path.parent, path.stem].append(path)

    def entries(self) -> list[_Entry]:
        """Return all images with their boxes. SegbenchError lists everything that is wrong."""
        lists = self._lists()
        found = []
        taken: dict[Path, Path] = {}
        for split, path, name in lists or self._files():
            try:
                entry = self._entry(split, path, name)
            except SegbenchError as error:
                self.faults.add(error)
                continue
            if other := taken.get(entry.image):
                what = f"has the image {entry.image.name}, which {other} also has"
                self.faults.add(SegbenchError(what, where=path, remedy="remove one of the two"))
                continue
            taken[entry.image] = path
            found.append(entry)
        self.faults.raise_if_any()
        if not lists:
            for split, image in unannotated(self.root, taken, self.options):
                found.append(_Entry(image, self._name(image, split), split))
        given = [entry.split for entry in found]
        self.division: Division = "given" if all(given) else "own"
        for entry, place in zip(found, divided([entry.name for entry in found], self.options, given)):
            entry.split, entry.group = place
        return found

    def _lists(self) -> list[tuple[str, Path, str]]:
        """Return split, XML file and name of each image in the lists of `ImageSets/Main`."""
        folder = self.root / "ImageSets" / "Main"
        files = {split: folder / f"{split}.txt" for split in SPLITS if (folder / f"{split}.txt").is_file()}
        if "train" not in files and (both := folder / "trainval.txt").is_file():
            files = {"train": both} | {s: f for s, f in files.items() if s == "test"}
        split_of: dict[str, str] = {}
        for split, path in files.items():
            for name in read_lines(path):
                if split_of.setdefault(name, split) != split:
                    what = f"lists {name!r}, which is also in the split '{split_of[name]}'"
                    self.faults.add(SegbenchError(what, where=path, remedy="list each image once"))
        self.faults.raise_if_any()
        alone = len(files) == 1  # one list is divided
        return [
            ("" if alone else split, inside(self.root, f"{ANNOTATIONS}/{name}.xml"), name.replace("/", "_"))
            for name, split in split_of.items()
        ]

    def _files(self) -> list[tuple[str, Path, str]]:
        return [
            (split, path, self._name(path, split))
            for split, top in split_folders(self.root).items()
            for path in listed(top, "**/*")
            if path.suffix.lower() == ".xml" and path.is_file()
        ]

    def _name(self, path: Path, split: str) -> str:
        parts = path.relative_to(self.root / split).with_suffix("").parts
        return "_".join(part for part in parts if part not in (ANNOTATIONS, *IMAGES))

    def _entry(self, split: str, path: Path, name: str) -> _Entry:
        tree = read_xml(path, self.options.encoding)
        if tree.tag != "annotation":
            raise SegbenchError(f"is not an annotation, but <{tree.tag[:40]}>", where=path, remedy=FIX)
        boxes = []
        for place, element in enumerate(tree.iterfind("object"), 1):
            try:
                boxes.append(self._box(element))
            except ValueError as error:
                self.faults.add(SegbenchError(f"object {place} {error}", where=path, remedy=FIX))
            except SegbenchError as error:
                what = f"object {place} {error.what}"
                self.faults.add(SegbenchError(what, where=path, remedy=error.remedy))
        return _Entry(self._image(tree, path), name, split, path, _size(tree, path), tuple(boxes))

    def _image(self, tree: Element, path: Path) -> Path:
        """Find the image: that with the name of the XML file, else the one that it names."""
        folders = [path.parent, *(path.parent.parent / name for name in IMAGES)]
        same = [image for folder in folders for image in self.images.get((folder, path.stem), [])]
        stated = _text(tree, "filename").replace("\\", "/").rpartition("/")[2]
        if len(same) > 1:
            same = [image for image in same if image.name == stated]
        if len(same) == 1:
            return same[0]
        for folder in folders:
            if stated and folder.is_relative_to(self.root):
                found = image_named(stated, folder / path.name, self.root)
                if found is not None and found.suffix.lower() in IMAGE_SUFFIXES:
                    return found
        raise no_image(stated or path.stem, path, self.root)

    def _box(self, element: Element) -> _Box:
        """Read an object. ValueError or SegbenchError say what is wrong with it."""
        label = _text(element, "name")
        if fault := label_fault(label):
            raise ValueError(fault)
        if self.options.labels is not None and label not in self.options.labels:
            remedy = name_another(label, self.options.labels, "object")
            raise SegbenchError(f"has the label {label!r}, which is not in `labels`", remedy=remedy)
        bounds = element.find("bndbox")
        if bounds is None:
            raise ValueError(f"({label}) has no <bndbox>")
        texts = [_text(bounds, side) for side in SIDES]
        try:
            x0, y0, x1, y1 = map(number, texts)
        except ValueError as error:
            raise ValueError(f"({label}) has a wrong {'/'.join(SIDES)}: {error}") from None
        shown = f"({label}) has the box {dict(zip(SIDES, texts))}"
        if not all(map(math.isfinite, (x0, y0, x1, y1))) or x1 < x0 or y1 < y0:
            raise ValueError(f"{shown}, which is not one")
        if self.options.origin is None and min(x0, y0) < 1:
            remedy = (
                "set `origin: 0` in the options if coordinates are counted from 0; `origin: 1` clips the box"
            )
            raise SegbenchError(f"{shown}, but coordinates are counted from 1", remedy=remedy)
        return _Box(label, (x0, y0, x1, y1), _text(element, "difficult").lower() in ("1", "true"))


def _text(element: Element, tag: str) -> str:
    return (element.findtext(tag) or "").strip()


def _size(tree: Element, path: Path) -> tuple[int, int] | None:
    """Return the width and height of the image; None if they are not stated, or 0."""
    texts = [_text(tree, f"size/{key}") for key in ("width", "height")]
    try:
        width, height = (int(float(text or 0)) for text in texts)
    except (ValueError, OverflowError) as error:
        raise SegbenchError(
            f"states the size {' x '.join(texts)}, which is not two numbers", where=path, remedy=FIX
        ) from error
    return (width, height) if width > 0 and height > 0 else None
