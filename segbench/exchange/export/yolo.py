"""The folder of Ultralytics' YOLO: images/SPLIT, labels/SPLIT/NAME.txt, and data.yaml.

A row of a text file is an object: its class from 0, and its outline as shares of width and height; or centre,
width and height of its box, if the truth has only boxes. See `segbench.data.converters.yolo`.
"""

from __future__ import annotations

import logging
from collections import Counter
from pathlib import Path
from typing import Any

import yaml

from segbench.data.coco.index import AnnotationIndex
from segbench.data.coco.masks import RLE, bbox, decode, standardise, to_rle
from segbench.data.dataset import Dataset, Split
from segbench.data.images import image_size
from segbench.errors import SegbenchError
from segbench.exchange.export.images import new_folder, place
from segbench.exchange.export.rings import ring
from segbench.files import atomic_folder, write_text

log = logging.getLogger(__name__)
DIGITS = 9
"""Digits of a coordinate: exact to a thousandth of a pixel in images of any size."""
NO_VAL = (
    "# Ultralytics needs `val`, and the dataset has no validation split but the images that are scored.\n"
    "# best.pt is chosen by these: score the predictions of last.pt.\n"
)


def export(dataset: Dataset, out: Path) -> Path:
    """Write a dataset as Ultralytics wants it.

    An object of several parts, or with holes, becomes one outline whose parts are joined by lines without
    area. Crowds are left out.

    Args:
        dataset: the converted dataset.
        out: folder to write, which must not exist.

    Returns:
        The folder.

    Raises:
        SegbenchError: YOLO has no such images or truth, or the folder exists.
    """
    info = dataset.info
    if "detection" not in info.tasks:
        raise SegbenchError(
            "has no objects, which YOLO learns", where=dataset.root, remedy="choose `--to nnunet` or `pairs`"
        )
    if info.channels not in (1, 3) or info.levels is not None:
        raise SegbenchError(
            f"has images of {info.channels} channels"
            + (", and of more than 8 bits or with a window" if info.levels is not None else ""),
            where=dataset.root,
            remedy="YOLO reads 8-bit images of 1 or 3 channels; choose `--to coco`, `pairs` or `nnunet`",
        )
    boxes = "instance" not in info.tasks
    index_of = {c.id: k for k, c in enumerate(c for c in info.categories if c.isthing)}
    counts: Counter[str] = Counter()
    with atomic_folder(new_folder(out)) as folder:
        for name in info.splits:
            _write_split(dataset.split(name), folder, index_of, boxes=boxes, counts=counts)
        write_text(folder / "data.yaml", _description(dataset, index_of))
    if counts["crowds"]:
        log.warning("%s: left out %d crowds, which YOLO does not know", out, counts["crowds"])
    log.info("%s: %d images, %d objects", out, counts["images"], counts["objects"])
    return out


def _write_split(
    split: Split, folder: Path, index_of: dict[int, int], *, boxes: bool, counts: Counter[str]
) -> None:
    images, labels = folder / "images" / split.name, folder / "labels" / split.name
    images.mkdir(parents=True)
    labels.mkdir(parents=True)
    objects = AnnotationIndex(split.instances_json)
    for record in split:
        size = image_size(record.path)
        place(split, record, images)
        listed = objects[record.id]
        found = [one for one in listed if not one.get("iscrowd")]
        rows = [(index_of[one["category_id"]], *_shape(one, size, boxes=boxes)) for one in found]
        text = "".join(f"{_text(row)}\n" for row in rows)
        (labels / f"{record.stem}.txt").write_text(text, encoding="utf-8")
        counts.update(images=1, objects=len(rows), crowds=len(listed) - len(found))


def _shape(one: dict[str, Any], size: tuple[int, int], *, boxes: bool) -> list[float]:
    """Return box or outline of an annotation as shares of width and height."""
    width, height = size
    if boxes:
        x, y, across, down = one["bbox"]
        points = [x + across / 2, y + down / 2, across, down]
    else:
        shape = standardise(one["segmentation"], height, width)
        points = (
            shape[0]
            if isinstance(shape, list) and len(shape) == 1
            else _outline(to_rle(shape, height, width))
        )
    # corners may lie a little outside of the image, where YOLO allows none
    return [min(max(v / size[k % 2], 0.0), 1.0) for k, v in enumerate(points)]


def _outline(rle: RLE) -> list[float]:
    """Return the corners x, y, x, y, ... of the outline of a mask."""
    x, y, width, height = (int(v) for v in bbox(rle))
    corners = ring(decode(rle)[y : y + height, x : x + width])
    return [float(v) for across, down in corners for v in (x + across, y + down)]


def _text(row: tuple[float, ...]) -> str:
    return " ".join(f"{value:.{DIGITS}g}" for value in row)


def _description(dataset: Dataset, index_of: dict[int, int]) -> str:
    info = dataset.info
    content: dict[str, Any] = {name: f"images/{name}" for name in info.splits}
    chosen = info.validation_split is None
    if "val" not in content:
        content["val"] = content.pop("test")
    content["names"] = {index_of[c.id]: c.name for c in info.categories if c.isthing}
    if info.channels == 1:
        content["channels"] = 1
    return (NO_VAL if chosen else "") + yaml.safe_dump(content, sort_keys=False, allow_unicode=True)
