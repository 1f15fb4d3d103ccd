"""A labelme folder, images with a JSON file each: the way in for a user's own data.

Shapes: polygon, rectangle, circle, and mask; points and lines have no area and are skipped with a warning.
Shapes of one label and `group_id` are one object. `__ignore__` is void and `_background_` is background;
neither is an object. In the semantic map later shapes cover earlier ones, as in labelme's own exports;
objects keep their whole shapes, so they may overlap. Shapes are drawn as labelme draws them, with Pillow and
outlines included, so that both truths equal its exports.

The split: the subfolders train, val, test where there are any; else `test` or `test_fraction`.
"""

from __future__ import annotations

import base64
import binascii
import io
import logging
import math
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from PIL import Image, ImageDraw, ImageOps

from segbench.data import masks
from segbench.data.converters.common import categories, parse_options
from segbench.data.converters.folder import (
    FolderOptions,
    divided,
    evaluation_split,
    name_another,
    root_of,
    split_folders,
)
from segbench.data.dataset import Archives, Converted, Sample
from segbench.data.images import open_image
from segbench.errors import SegbenchError
from segbench.files import read_json

log = logging.getLogger(__name__)

IGNORE, BACKGROUND = "__ignore__", "_background_"
ORIENTATION = 0x0112  # EXIF
MEND = "open the file in labelme and save it again, or remove it"


class Options(FolderOptions):
    task: Literal["instance", "semantic"] = "instance"


def convert(archives: Archives, options: dict[str, Any]) -> Converted:
    """Options: see `Options`."""
    chosen = parse_options(Options, options)
    root = root_of(archives, chosen)
    files = _files(root, chosen)
    labels = chosen.labels or sorted({s["label"] for f in files for s in f.read()["shapes"]})
    labels = [label for label in labels if label not in (IGNORE, BACKGROUND)]
    if not labels:
        raise SegbenchError(
            "no labelled shape in any .json file", where=root, remedy="is it a labelme folder?"
        )
    return Converted(
        categories=categories(labels, isthing=chosen.task == "instance"),
        background=True,
        evaluation_split=evaluation_split([f.split for f in files]),
        samples=_samples(files, root, labels, chosen.task),
    )


@dataclass
class _File:
    path: Path
    name: str
    split: str

    def read(self) -> dict[str, Any]:
        content = read_json(self.path)
        for number, shape in enumerate(content["shapes"], 1):
            if not isinstance(shape, dict) or not isinstance(shape.get("label"), str):
                raise SegbenchError(f"shape {number} has no label", where=self.path, remedy=MEND)
        return content


def _files(root: Path, options: Options) -> list[_File]:
    files = []
    for split, top in split_folders(root).items():
        for path in sorted(top.rglob("*.json")):
            content = read_json(path)
            if not isinstance(content, dict) or not isinstance(content.get("shapes"), list):
                log.warning("%s: skipped, it is not a labelme file", path)
                continue
            files.append(_File(path, "_".join(path.relative_to(top).with_suffix("").parts), split))
    split_of = divided([f.name for f in files], options)
    for file in files:
        file.split = file.split or split_of[file.name]
    return files


def _samples(files: Sequence[_File], root: Path, labels: Sequence[str], task: str) -> Iterator[Sample]:
    value_of = {label: i for i, label in enumerate(labels, 1)} | {IGNORE: -1, BACKGROUND: 0}
    skipped: Counter[str] = Counter()
    for file in files:
        content = file.read()
        image, suffix, (width, height) = _image(file.path, content, root)
        semantic = np.zeros((height, width), np.int32)
        objects: dict[Any, dict[str, Any]] = {}
        for number, shape in enumerate(content["shapes"], 1):
            label, group = shape["label"], shape.get("group_id")
            if label not in value_of:
                raise SegbenchError(
                    f"shape {number} has the label {label!r}, which is not in the class list",
                    where=file.path,
                    remedy=name_another(label, labels, "shape"),
                )
            try:
                mask = _mask(shape, height, width)
            except (ValueError, TypeError, KeyError, IndexError) as error:
                raise SegbenchError(
                    f"shape {number} ({label}): {error}", where=file.path, remedy=MEND
                ) from error
            if mask is None:
                skipped[str(shape.get("shape_type"))] += 1
                continue
            value = value_of[label]
            semantic[mask] = value
            if value > 0:
                key = number if group is None else (label, str(group))
                found = objects.setdefault(key, {"category_id": value, "segmentation": mask})
                found["segmentation"] = found["segmentation"] | mask
        instances = list(objects.values()) if task == "instance" else None
        yield Sample(file.split, file.name, image, suffix=suffix, semantic=semantic, instances=instances)
    for kind, count in skipped.items():
        log.warning("%s: %d shapes of type '%s' skipped, they have no area", root, count, kind)


def _mask(shape: dict[str, Any], height: int, width: int) -> np.ndarray | None:
    """H x W bool; None for a type without area. ValueError (or its like) where the shape is malformed."""
    kind = shape.get("shape_type") or "polygon"  # labelme before 3.5 knew polygons only
    points = [(float(x), float(y)) for x, y in shape["points"]]
    masks.standardise([[v for point in points for v in point]], height, width)  # no nan, nothing far away
    if kind == "mask":
        return _pasted(shape["mask"], points, height, width)
    canvas = Image.new("1", (width, height))
    draw = ImageDraw.Draw(canvas)
    if kind == "rectangle":
        (x0, y0), (x1, y1) = points
        draw.rectangle((min(x0, x1), min(y0, y1), max(x0, x1), max(y0, y1)), fill=1, outline=1)
    elif kind == "circle":
        (x, y), edge = points
        radius = math.dist((x, y), edge)
        draw.ellipse((x - radius, y - radius, x + radius, y + radius), fill=1, outline=1)
    elif kind == "polygon" and len(points) > 2:
        draw.polygon(points, fill=1, outline=1)
    else:
        return None
    return np.asarray(canvas)


def _pasted(text: str, points: list[tuple[float, float]], height: int, width: int) -> np.ndarray:
    """labelme's `mask` shape: a PNG in base64, and the two corners (inclusive) where it belongs."""
    part = np.asarray(_opened(_decoded(text)).convert("L")) > 0
    x, y = (int(v) for v in points[0])
    if min(x, y) < 0 or y + part.shape[0] > height or x + part.shape[1] > width:
        raise ValueError(f"mask of {part.shape[1]}x{part.shape[0]} at {x}, {y} leaves the image")
    mask = np.zeros((height, width), bool)
    mask[y : y + part.shape[0], x : x + part.shape[1]] = part
    return mask


def _image(path: Path, content: dict[str, Any], root: Path) -> tuple[Path | bytes, str, tuple[int, int]]:
    """Image, file name ending (of embedded ones), and width and height.

    The path in the file is not trusted: it counts only where it leads to a file inside of `root`.
    """
    name, embedded = content.get("imagePath"), content.get("imageData")
    beside = path.parent / str(name or "").replace("\\", "/")
    image: Path | bytes
    if beside.resolve().is_relative_to(root.resolve()) and beside.is_file():
        image, opened, suffix = beside, open_image(beside), ""
    elif embedded:
        try:
            image = _decoded(embedded)
            opened = _opened(image)
        except ValueError as error:
            raise SegbenchError(f"imageData: {error}", where=path, remedy=MEND) from error
        suffix = ".jpeg" if opened.format == "MPO" else f".{opened.format}".lower()
    else:
        raise SegbenchError(
            f"imagePath {name!r} is no file inside of {root}, and there is no imageData",
            where=path,
            remedy="put the image beside the .json file and mend imagePath",
        )
    if opened.getexif().get(ORIENTATION, 1) != 1:  # labelme shows, and outlines, the upright image
        opened = ImageOps.exif_transpose(opened)
        image, suffix = _png(opened), ".png"
    stated = (content.get("imageWidth") or opened.width, content.get("imageHeight") or opened.height)
    if stated != opened.size:
        raise SegbenchError(
            f"was drawn on {stated[0]}x{stated[1]} pixels, the image has {opened.width}x{opened.height}",
            where=path,
            remedy="put the image back that was annotated",
        )
    return image, suffix, opened.size


def _decoded(text: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, TypeError) as error:
        raise ValueError(f"not valid base64 ({error})") from error


def _opened(content: bytes) -> Image.Image:
    try:
        return open_image(io.BytesIO(content))
    except SegbenchError as error:
        raise ValueError(error.what) from error


def _png(image: Image.Image) -> bytes:
    file = io.BytesIO()
    image.save(file, "PNG")
    return file.getvalue()
