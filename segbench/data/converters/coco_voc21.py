"""COCO 2017 in the 20 classes of PASCAL VOC, as torchvision trains and scores its public checkpoints.

Objects of other classes are background. Pixels of more than one object, of one class or several, are void; a
crowd counts as an object. `val` has all images. `train` has those whose objects of the 20 classes have more
than 1000 pixels (`references/segmentation/coco_utils.py`).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import BaseModel

from segbench.data.coco import checks, masks
from segbench.data.converters.coco_entries import CategoryEntry, ImageEntry, ObjectEntry
from segbench.data.converters.common import NoOptions as Options
from segbench.data.converters.common import categories, inside, parse_options, read_checked, require
from segbench.data.converters.voc import CLASSES
from segbench.data.dataset import Archives, Converted, Sample
from segbench.data.images import open_image
from segbench.errors import SegbenchError

NAMES = {
    "airplane": "aeroplane",
    "motorcycle": "motorbike",
    "dining table": "diningtable",
    "potted plant": "pottedplant",
    "couch": "sofa",
    "tv": "tvmonitor",
}
"""COCO's names of classes that have another one in VOC."""
SMALLEST = 1000
"""Training images have more annotated pixels than this."""


class Instances(BaseModel):
    """An instance file."""

    images: list[ImageEntry]
    annotations: list[ObjectEntry]
    categories: list[CategoryEntry]


def convert(archives: Archives, options: dict[str, Any]) -> Converted:
    """Convert the archives. It takes no options."""
    parse_options(Options, options)
    return Converted(
        categories=categories(CLASSES, isthing=False),
        background=True,
        evaluation_split="val",
        orientation="stored",
        division="published",
        partial=True,
        samples=_samples(archives),
    )


def _samples(archives: Archives) -> Iterator[Sample]:
    for split in ("train", "val"):
        path = archives["annotations_trainval2017.zip"] / "annotations" / f"instances_{split}2017.json"
        source = read_checked(path, Instances)
        checks.unique_ids(((i.id, i.file_name) for i in source.images), "image", path)
        class_of = _class_of(source, path)
        objects: dict[int, list[ObjectEntry]] = defaultdict(list)
        for annotation in source.annotations:
            if annotation.category_id in class_of:
                objects[annotation.image_id].append(annotation)
        for entry in source.images:
            if split == "train" and sum(a.area or 0 for a in objects[entry.id]) <= SMALLEST:
                continue
            image = require(inside(archives[f"{split}2017.zip"] / f"{split}2017", entry.file_name))
            sample = Sample(split, image.stem, image)
            try:
                sample.semantic = _painted(objects[entry.id], class_of, entry, image, path)
            except SegbenchError as error:
                sample.faults.append(error)
            yield sample


def _class_of(source: Instances, path: Path) -> dict[int, int]:
    """Return the number in `CLASSES`, from 1, of COCO's category ids."""
    checks.unique_ids(((c.id, c.name) for c in source.categories), "category", path)
    number_of = {name: number for number, name in enumerate(CLASSES, 1)}
    named = {c.id: NAMES.get(c.name, c.name) for c in source.categories}
    if missing := [name for name in CLASSES if name not in named.values()]:
        raise SegbenchError(
            f"has no category for VOC's {', '.join(missing)}",
            where=path,
            remedy="use COCO's own annotation files",
        )
    return {k: number_of[name] for k, name in named.items() if name in number_of}


def _painted(
    objects: list[ObjectEntry], class_of: dict[int, int], entry: ImageEntry, image: Path, path: Path
) -> np.ndarray:
    width, height = open_image(image).size
    if (stated := (entry.width or width, entry.height or height)) != (width, height):
        raise SegbenchError(
            f"is {width}x{height} (width x height), {path} states {stated[0]}x{stated[1]}",
            where=image,
            remedy="use the images that were annotated",
        )
    semantic, times = np.zeros((height, width), np.int32), np.zeros((height, width), np.int32)
    for annotation in objects:
        try:
            outline = masks.standardise(annotation.segmentation, height, width)
        except ValueError as error:
            raise SegbenchError(
                f"annotation {annotation.id}: {error}",
                where=path,
                remedy="correct the annotation or remove it",
            ) from error
        mask = masks.decode(masks.to_rle(outline, height, width))
        semantic[mask] = class_of[annotation.category_id]
        times += mask
    semantic[times > 1] = -1
    return semantic
