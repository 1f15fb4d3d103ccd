"""True objects of a split, and text files of Ultralytics for masks whose rows are single runs of pixels."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np

from segbench.data.coco.masks import decode, standardise, to_rle
from segbench.data.dataset import Split
from segbench.files import read_json

Scored = Callable[..., dict[tuple[str, str], float]]
"""Scores over all classes by task and metric; see the fixture `scored`."""


def objects_of(split: Split) -> dict[str, list[tuple[int, np.ndarray]]]:
    """Return category and mask of all true objects, by name of the image."""
    truth = read_json(split.instances_json)
    stems = {record.id: record.stem for record in split}
    found: dict[str, list[tuple[int, np.ndarray]]] = {stem: [] for stem in stems.values()}
    sizes = {image["id"]: (image["height"], image["width"]) for image in truth["images"]}
    for one in truth["annotations"]:
        height, width = sizes[one["image_id"]]
        mask = decode(to_rle(standardise(one["segmentation"], height, width), height, width))
        found[stems[one["image_id"]]].append((one["category_id"], mask))
    return found


def corners(mask: np.ndarray) -> list[tuple[float, float]]:
    """Return the pixels on the left and right border of a mask, clockwise, as shares of width and height.

    This is what OpenCV's findContours returns, but for pixels within straight lines, which it leaves out.
    """
    rows = np.flatnonzero(mask.any(1))
    spans = [(int(x[0]), int(x[-1])) for x in (np.flatnonzero(mask[y]) for y in rows)]
    left = [(a, y) for (a, _), y in zip(spans, rows)]
    right = [(b, y) for (_, b), y in zip(spans, rows)]
    return [(x / mask.shape[1], y / mask.shape[0]) for x, y in (*right, *reversed(left))]


def write_rows(path: Path, objects: Iterable[tuple[int, np.ndarray, float]]) -> None:
    """Write class, outline and score of objects as `predict save_txt=True save_conf=True` does.

    There is no file for an image without objects.
    """
    rows = []
    for kind, mask, score in objects:
        points = [value for point in corners(mask) for value in point]
        line = (kind, *points, score)
        rows.append(("%g " * len(line)).rstrip() % line)
    if rows:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("".join(f"{row}\n" for row in rows))
