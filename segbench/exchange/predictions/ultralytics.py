"""The text files that Ultralytics writes with `predict save_txt=True save_conf=True`: labels/NAME.txt.

A row is an object: its class from 0, the corners x1 y1 x2 y2 ... of its outline as shares of width and
height, and its score. The corners are pixels on the border of the mask (OpenCV's findContours), so an outline
includes its border. Detectors write centre, width and height instead of corners. An image without objects has
no file.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from segbench.contract.prediction import Instances, Prediction
from segbench.contract.view import Category
from segbench.data.coco.masks import RLE, encode
from segbench.data.dataset import ImageRecord
from segbench.errors import SegbenchError
from segbench.exchange.predictions.files import texts
from segbench.exchange.predictions.label_maps import Reader, Shape
from segbench.exchange.predictions.source import Source

BOX = 6
"""Number of values of a row with a box: class, four numbers, score."""
TOLERANCE = 0.01
"""How far coordinates may lie outside of 0 to 1. They are clipped."""
AGAIN = "predict again with save_txt=True save_conf=True, into a new folder"
Row = tuple[int, list[float], float]
"""Class, coordinates, score."""


def reader(source: Source) -> Reader:
    """Return what reads the prediction of an image. SegbenchError if files are malformed or unknown."""
    paths = texts(source.spec.path)
    empty = [record.stem for record in source.split if record.stem not in paths]
    own = len(empty) < len(source.split)  # else the folder is another one
    source.expected([*paths, *(empty if own else [])], source.spec.path)
    things = [c for c in source.view.classes if c.isthing]
    labels = _labels(source, things)
    masks = source.spec.task == "instance" and any(_has_outlines(path) for path in paths.values())

    def read(record: ImageRecord, shape: Shape) -> Prediction:
        path = paths.get(record.stem)
        rows = [row for row in (read_rows(path, labels) if path else []) if labels[row[0]] is not None]
        scores = np.array([score for _, _, score in rows], float)
        found = np.array([labels[kind] for kind, _, _ in rows], int)
        if masks:
            return Prediction(instances=Instances(scores, found, [_mask(p, shape) for _, p, _ in rows]))
        boxes = [_box(points, shape, path) for _, points, _ in rows]
        corners = np.array(boxes, float).reshape(-1, 4)
        return Prediction(instances=Instances(scores, found, None, corners))

    return read


def _labels(source: Source, things: Sequence[Category]) -> dict[int, int | None]:
    """Return the index of the class of each of Ultralytics' class numbers."""
    if source.spec.classes:
        return source.indices(source.spec.classes, source.spec.path)
    return {k: source.view.index_of[c.id] for k, c in enumerate(things)}


def _has_outlines(path: Path) -> bool:
    """Return whether a row of a file has more values than a box."""
    with path.open(encoding="utf-8", errors="replace") as file:
        return any(len(line.split()) > BOX for line in file)


def read_rows(path: Path, classes: Mapping[int, int | None]) -> list[Row]:
    """Read the rows of a file.

    Args:
        path: the file.
        classes: the known class numbers.

    Raises:
        SegbenchError: a row is not valid, or stands twice.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise SegbenchError(f"is not readable text ({error})", where=path, remedy=AGAIN) from error
    rows, seen = [], set()
    for number, line in enumerate(lines, 1):
        values = line.split()
        if not values:
            continue
        if line in seen:
            what = f"line {number} stands twice: Ultralytics adds to files that are there"
            raise SegbenchError(what, where=path, remedy=AGAIN)
        seen.add(line)
        try:
            rows.append(_row(values, classes))
        except ValueError as error:
            raise SegbenchError(f"line {number}: {error}", where=path, remedy=AGAIN) from error
    return rows


def _row(values: Sequence[str], classes: Mapping[int, int | None]) -> Row:
    numbers = [float(value) for value in values]  # ValueError names the text
    if not all(map(math.isfinite, numbers)):
        raise ValueError("a value is not finite")
    kind, *points, score = numbers
    if len(numbers) < 2 or len(points) % 2:
        raise ValueError(f"{len(numbers)} values; an object has a class, pairs of coordinates, and a score")
    if kind not in classes:
        known = f"0 to {len(classes) - 1}" if [*classes] == [*range(len(classes))] else [*classes]
        raise ValueError(f"the class is {kind:g}; known are {known}. Name them in `external.classes`")
    if not 0 <= score <= 1:
        raise ValueError(f"the score is {score:g}, not from 0 to 1")
    if wrong := [v for v in points if not -TOLERANCE <= v <= 1 + TOLERANCE]:
        raise ValueError(f"the coordinate {wrong[0]:g} is not from 0 to 1")
    return int(kind), points, score


def _mask(points: Sequence[float], shape: Shape) -> RLE:
    """Return the mask within an outline, its border included."""
    height, width = shape
    image = Image.new("1", (width, height))
    scale = np.array([width, height], float)
    corners = np.rint(np.array(points, float).reshape(-1, 2) * scale).clip(0, scale - 1)
    if len(corners) > 1:
        ImageDraw.Draw(image).polygon([(x, y) for x, y in corners.tolist()], fill=1, outline=1)
    elif len(corners):
        image.putpixel((int(corners[0, 0]), int(corners[0, 1])), 1)
    return encode(np.asarray(image))


def _box(points: Sequence[float], shape: Shape, path: Path | None) -> list[float]:
    """Return x0, y0, x1, y1 in pixels of a box by centre, width and height."""
    if len(points) != BOX - 2:
        raise SegbenchError(
            f"has a row with {len(points) // 2} corners, and boxes are needed",
            where=path or "labels",
            remedy="predict with a detector, or score on a dataset with masks of objects",
        )
    x, y, width, height = points
    scale = (shape[1], shape[0]) * 2
    corners = (x - width / 2, y - height / 2, x + width / 2, y + height / 2)
    return [min(max(v, 0.0), 1.0) * s for v, s in zip(corners, scale)]
