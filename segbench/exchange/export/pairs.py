"""Images with masks: images/SPLIT/NAME, masks/SPLIT/NAME.png, objects/SPLIT/NAME.png, and classes.json.

Masks have the category ids, and the value of void. If classes overlap, masks/SPLIT/ID/NAME.png has a class
each, as 1. If the dataset has masks of objects, `objects` numbers them, as Cellpose and StarDist train on.
"""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import numpy as np

from segbench.contract.view import BACKGROUND, has_class
from segbench.data.coco.index import AnnotationIndex
from segbench.data.coco.masks import areas, paint, standardise, to_rle
from segbench.data.dataset import Dataset, ImageRecord, Split
from segbench.errors import SegbenchError
from segbench.exchange.export.images import new_folder, place, save_png
from segbench.files import atomic_folder, write_json

log = logging.getLogger(__name__)


def export(dataset: Dataset, out: Path) -> Path:
    """Write a dataset as images with masks.

    Where objects overlap, the smaller one is on top. Crowds have no number.

    Args:
        dataset: the converted dataset.
        out: folder to write, which must not exist.

    Returns:
        The folder.

    Raises:
        SegbenchError: the dataset has no masks, or the folder exists.
    """
    info = dataset.info
    if "semantic" not in info.tasks:
        raise SegbenchError(
            "has boxes and no masks", where=dataset.root, remedy="choose `--to yolo` or `--to coco`"
        )
    with atomic_folder(new_folder(out)) as folder:
        for name in info.splits:
            _write_split(dataset.split(name), folder)
        known = ([BACKGROUND] if info.background else []) + info.categories
        classes: dict[str, Any] = {"classes": {str(c.id): c.name for c in known}, "void": info.void}
        write_json(folder / "classes.json", classes)
    log.info("%s: %d images", out, sum(info.splits.values()))
    return out


def _write_split(split: Split, folder: Path) -> None:
    info = split.dataset.info
    images, masks, objects = (folder / kind / split.name for kind in ("images", "masks", "objects"))
    for one in (images, *([objects] if "instance" in info.tasks else [])):
        one.mkdir(parents=True)
    each = [masks / str(c.id) for c in info.categories] if info.overlapping else [masks]
    for one in each:
        one.mkdir(parents=True)
    annotations = AnnotationIndex(split.instances_json) if "instance" in info.tasks else None
    kind = np.uint8 if info.void == 255 else np.uint16
    for record in split:
        place(split, record, images)
        ids = split.read_semantic(record.stem)
        for k, one in enumerate(each):
            values = has_class(ids, k).astype(int) if info.overlapping else ids
            save_png(np.where(ids < 0, info.void, values).astype(kind), one / f"{record.stem}.png")
        if annotations is not None:
            numbers = _numbers(annotations[record.id], ids.shape, record)
            save_png(numbers, objects / f"{record.stem}.png")


def _numbers(annotations: list[dict[str, Any]], shape: tuple[int, ...], record: ImageRecord) -> np.ndarray:
    """Return the H x W map of the objects of an image, numbered from 1."""
    height, width = shape
    rles = [
        to_rle(standardise(one["segmentation"], height, width), height, width)
        for one in annotations
        if not one.get("iscrowd")
    ]
    if len(rles) > np.iinfo(np.uint16).max:
        raise SegbenchError(
            f"has {len(rles)} objects, more than 16 bits count", where=record.path, remedy="split the image"
        )
    order = np.argsort(-areas(rles), kind="stable")
    numbers = np.zeros(shape, np.uint16, order="F")
    paint(numbers, [rles[k] for k in order], [int(k) + 1 for k in order])
    return np.ascontiguousarray(numbers)
