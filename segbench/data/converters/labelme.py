"""labelme folders: images with one JSON file each.

Shapes: polygon, rectangle (also rotated), circle and mask. Points and lines have no area and are skipped with
a warning. Images are read upright, as labelme shows them. Shapes with the same label and `group_id` are one
object. `__ignore__` is void and `_background_` is background; neither is an object.

In the semantic map, later shapes cover earlier ones, as in labelme's exports. Objects keep their whole
shapes, so they may overlap. Shapes are drawn as labelme draws them, with Pillow and including the outline, so
that semantic maps and objects equal its exports.

Splits: the subfolders train, val and test if there are any; else `test` or `test_fraction`.
"""

from __future__ import annotations

import base64
import binascii
import io
import logging
import math
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
from PIL import Image, ImageDraw

from segbench.data.coco import masks
from segbench.data.converters.common import categories, parse_options
from segbench.data.converters.folder import (
    FolderOptions,
    annotation_files,
    division,
    evaluation_split,
    image_named,
    label_fault,
    name_another,
    no_image,
    number,
    root_of,
    split_folders,
    type_name,
    unannotated,
)
from segbench.data.converters.splits import divided
from segbench.data.dataset import Archives, Converted, Sample
from segbench.data.faults import Faults
from segbench.data.images import IMAGE_SUFFIXES, open_image, upright
from segbench.data.orientation import oriented
from segbench.errors import SegbenchError
from segbench.files import read_json

log = logging.getLogger(__name__)

IGNORE, BACKGROUND = "__ignore__", "_background_"
WITHOUT_AREA = ("point", "points", "line", "linestrip")
OUTLINES = ("polygon", "rotation", "oriented_rectangle", "quadrilateral")
"""Shapes whose points are their corners. Forks of labelme write rotated rectangles as such."""
FIX = "open the file in labelme and save it again, or remove it"


class Options(FolderOptions):
    task: Literal["instance", "semantic"] = "instance"
    """instance: objects and semantic maps; semantic: semantic maps only."""


def convert(archives: Archives, options: dict[str, Any]) -> Converted:
    """Convert the folder. Options: see `Options`."""
    chosen = parse_options(Options, options)
    root = root_of(archives, chosen)
    files = _files(root, chosen)
    labels = chosen.labels or sorted({label for file in files for label in file.labels})
    labels = [label for label in labels if label not in (IGNORE, BACKGROUND)]
    if not labels:
        raise SegbenchError(
            "has no labelled shape in any .json file", where=root, remedy="check that it is a labelme folder"
        )
    return Converted(
        categories=categories(labels, isthing=chosen.task == "instance"),
        background=True,
        evaluation_split=evaluation_split([f.split for f in files]),
        orientation="upright",
        division=division(root),
        samples=_samples(files, root, labels, chosen),
    )


@dataclass
class _File:
    """An annotation file, or an image without one."""

    path: Path
    name: str
    split: str
    group: str | None = field(default=None, kw_only=True)
    labels: set[str] = field(default_factory=set)
    is_image: bool = False


def _files(root: Path, options: Options) -> list[_File]:
    files: list[_File] = []
    images: set[Path] = set()
    faults = Faults()

    def add(path: Path, split: str, labels: set[str], is_image: bool = False) -> None:
        parts = path.relative_to(root / split).with_suffix("").parts
        files.append(_File(path, "_".join(parts), split, labels, is_image))

    for split, top in split_folders(root).items():
        for path in annotation_files(top):
            content = read_json(path, options.encoding)
            if not isinstance(content, dict) or not isinstance(content.get("shapes"), list):
                log.warning("%s: skipped, it is not a labelme file", path)
                continue
            if image := image_named(str(content.get("imagePath") or ""), path, root):
                images.add(image)
            images.update(path.with_suffix(suffix) for suffix in IMAGE_SUFFIXES)
            labels = set()
            for place, shape in enumerate(content["shapes"], 1):
                is_shape = isinstance(shape, dict)
                fault = label_fault(shape.get("label")) if is_shape else f"is {type_name(shape)}, not a shape"
                if fault:
                    faults.add(SegbenchError(f"shape {place} {fault}", where=path, remedy=FIX))
                else:
                    labels.add(shape["label"].strip())
            add(path, split, labels)
    faults.raise_if_any()
    for split, image in unannotated(root, images, options):
        add(image, split, set(), is_image=True)
    places = divided([file.name for file in files], options, [file.split for file in files])
    for file, where in zip(files, places):
        file.split, file.group = where
    return files


def _samples(files: Sequence[_File], root: Path, labels: Sequence[str], options: Options) -> Iterator[Sample]:
    reader = _Reader(root, labels, options)
    for file in files:
        try:
            yield reader.empty(file) if file.is_image else reader.sample(file)
        except SegbenchError as error:
            yield Sample(file.split, file.name, file.path, faults=[error])
    for kind, count in reader.skipped.items():
        log.warning("%s: skipped %d shapes of type '%s', which have no area", root, count, kind)


class _Reader:
    def __init__(self, root: Path, labels: Sequence[str], options: Options) -> None:
        self.root, self.labels, self.options = root, labels, options
        self.value_of = {label: i for i, label in enumerate(labels, 1)} | {IGNORE: -1, BACKGROUND: 0}
        self.skipped: Counter[str] = Counter()

    def empty(self, file: _File) -> Sample:
        """Make the sample of an image without objects."""
        sample = Sample(file.split, file.name, file.path, group=file.group)
        width, height = oriented(open_image(file.path, deep_colours=True), "upright", sample).size
        sample.semantic = np.zeros((height, width), np.int32)
        sample.instances = [] if self.options.task == "instance" else None
        return sample

    def sample(self, file: _File) -> Sample:
        content = read_json(file.path, self.options.encoding)
        image, suffix, opened = _image(file.path, content, self.root)
        sample = Sample(file.split, file.name, image, suffix, group=file.group, source=file.path)
        sample.size = (
            _length(content, "imageWidth", file.path) or upright(opened).width,
            _length(content, "imageHeight", file.path) or upright(opened).height,
        )
        width, height = oriented(opened, "upright", sample).size
        semantic = np.zeros((height, width), np.int32)
        objects: dict[Any, dict[str, Any]] = {}
        for place, shape in enumerate(content["shapes"], 1):
            label, group = shape["label"].strip(), shape.get("group_id")
            mask = None
            try:
                if label not in self.value_of:
                    raise _Unknown(f"the label {label!r} is not in the class list")
                mask = _mask(shape, height, width)
                if mask is None:
                    self.skipped[str(shape.get("shape_type"))] += 1
            except (ValueError, TypeError, KeyError, IndexError) as error:
                unknown = isinstance(error, _Unknown)
                remedy = name_another(label, self.labels, "shape") if unknown else FIX
                what = f"lacks {error}" if isinstance(error, KeyError) else str(error)
                sample.faults.append(
                    SegbenchError(f"shape {place} ({label}): {what}", where=file.path, remedy=remedy)
                )
            if mask is None:
                continue
            value = self.value_of[label]
            semantic[mask] = value
            if value > 0:
                key = place if group is None else (label, str(group))
                found = objects.setdefault(key, {"category_id": value, "segmentation": mask})
                found["segmentation"] = found["segmentation"] | mask
        sample.semantic = semantic
        sample.instances = list(objects.values()) if self.options.task == "instance" else None
        return sample


class _Unknown(ValueError):
    """A label that is not in the class list."""


def _length(content: dict[str, Any], key: str, path: Path) -> int | None:
    """Return a side of the image as the file states it. None: labelme may omit it, or write null."""
    if content.get(key) is None:
        return None
    try:
        value = number(content[key])
        if value < 1 or value != int(value):
            raise ValueError(f"{content[key]!r} is not the side of an image")
    except (ValueError, OverflowError) as error:
        raise SegbenchError(f"{key}: {error}", where=path, remedy=FIX) from error
    return int(value)


def _mask(shape: dict[str, Any], height: int, width: int) -> np.ndarray | None:
    """Draw a shape as an H x W bool mask; None for a type without area. Malformed: ValueError or the like."""
    kind = shape.get("shape_type") or "polygon"  # labelme before 3.5 had only polygons
    if kind in WITHOUT_AREA:
        return None
    points = [(number(x), number(y)) for x, y in shape["points"]]
    outline = masks.standardise(
        [[v for point in points for v in point]], height, width
    )  # raises for points far away
    if kind == "mask":
        return _pasted(shape["mask"], points, height, width)
    canvas = Image.new("1", (width, height))
    draw = ImageDraw.Draw(canvas)
    if kind == "rectangle" and len(points) == 2:
        (x0, y0), (x1, y1) = points
        draw.rectangle((min(x0, x1), min(y0, y1), max(x0, x1), max(y0, y1)), fill=1, outline=1)
    elif kind == "circle" and len(points) == 2:
        (x, y), edge = points
        radius = math.dist((x, y), edge)
        draw.ellipse((x - radius, y - radius, x + radius, y + radius), fill=1, outline=1)
    elif (kind in OUTLINES and len(points) > 2) or (kind == "rectangle" and len(points) == 4):
        draw.polygon(points, fill=1, outline=1)
    elif kind in (*OUTLINES, "rectangle", "circle"):
        raise ValueError(f"a {kind} of {len(points)} points")
    else:
        raise ValueError(
            f"shapes of type {kind!r} are not known (known: {', '.join(OUTLINES)}, rectangle, ...)"
        )
    mask = np.asarray(canvas)
    if not mask.any():
        place = masks.outside(outline, height, width) or f"points {points}"
        raise ValueError(f"lies outside of the image ({width}x{height}): {place}")
    return mask


def _pasted(text: str, points: list[tuple[float, float]], height: int, width: int) -> np.ndarray:
    """Draw labelme's shape `mask`: a PNG in base64, and the two corners (inclusive) of its place."""
    part = np.asarray(_opened(_decoded(text)).convert("L")) > 0
    x, y = (int(v) for v in points[0])
    if min(x, y) < 0 or y + part.shape[0] > height or x + part.shape[1] > width:
        raise ValueError(f"mask of {part.shape[1]}x{part.shape[0]} at {x}, {y} exceeds the image")
    mask = np.zeros((height, width), bool)
    mask[y : y + part.shape[0], x : x + part.shape[1]] = part
    return mask


def _image(path: Path, content: dict[str, Any], root: Path) -> tuple[Path | bytes, str, Image.Image]:
    """Return the image (path or contents), the suffix for contents, and the opened image as stored.

    The path in the file is not trusted: it is used only if it leads to a file inside of `root`.
    """
    name, embedded = content.get("imagePath"), content.get("imageData")
    if beside := image_named(str(name or ""), path, root):
        return beside, "", open_image(beside, deep_colours=True)
    if not embedded:
        error = no_image(name, path, root)
        raise SegbenchError(f"{error.what}, and there is no imageData", where=path, remedy=error.remedy)
    try:
        image = _decoded(embedded)
        opened = _opened(image)
    except ValueError as error:
        raise SegbenchError(f"imageData: {error}", where=path, remedy=FIX) from error
    return image, ".jpeg" if opened.format == "MPO" else f".{opened.format}".lower(), opened


def _decoded(text: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, TypeError) as error:
        raise ValueError(f"not valid base64 ({error})") from error


def _opened(content: bytes) -> Image.Image:
    try:
        return open_image(io.BytesIO(content), deep_colours=True)
    except SegbenchError as error:
        raise ValueError(error.what) from error
