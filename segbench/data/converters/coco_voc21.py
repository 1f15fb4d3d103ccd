"""COCO 2017 in the 20 classes of PASCAL VOC, as torchvision trains and scores its public checkpoints.

Objects of other classes are background. Pixels of more than one object, of one class or several, are void; a
crowd counts as an object. `val` has all images. `train` has those whose objects of the 20 classes have more
than 1000 pixels (`references/segmentation/coco_utils.py`).
"""

from __future__ import annotations

from array import array
from collections import defaultdict
from collections.abc import Collection, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from segbench.data.coco import masks
from segbench.data.converters.coco_entries import ImageEntry, ObjectEntry
from segbench.data.converters.coco_reader import AnnotationFile, Texts
from segbench.data.converters.common import NoOptions as Options
from segbench.data.converters.common import categories, inside, parse_options, require
from segbench.data.converters.voc import CLASSES
from segbench.data.dataset import Archives, Converted, Sample
from segbench.data.faults import Faults
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


class _Objects(AnnotationFile[ObjectEntry]):
    """An instance file, and the area of each annotation."""

    def __init__(self, path: Path, faults: Faults) -> None:
        self._areas = array("d")
        super().__init__(require(path), ObjectEntry, faults, "utf-8")

    def _is_used(self, entry: ObjectEntry) -> bool:
        self._areas.extend((entry.image_id, entry.category_id, entry.area or 0))
        return True

    def areas(self, categories: Collection[int]) -> dict[int, float]:
        """Return the sum of the areas of the objects of some categories, by image."""
        found: dict[int, float] = defaultdict(float)
        table = np.array(self._areas).reshape(-1, 3)
        for image, _, area in table[np.isin(table[:, 1], [*categories])].tolist():
            found[int(image)] += area
        return found


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
        source = _Objects(path, faults := Faults())
        faults.raise_if_any()
        class_of = _class_of(source)
        areas = source.areas(class_of)
        for entry in source.images.values():
            if split == "train" and areas.get(entry.id, 0) <= SMALLEST:
                continue
            image = require(inside(archives[f"{split}2017.zip"] / f"{split}2017", entry.file_name))
            load = partial(_truth, source.of(entry.id), class_of, entry, image, path)
            yield Sample(split, image.stem, image, load=load)


def _class_of(source: _Objects) -> dict[int, int]:
    """Return the number in `CLASSES`, from 1, of COCO's category ids."""
    number_of = {name: number for number, name in enumerate(CLASSES, 1)}
    named = {c.id: NAMES.get(c.name, c.name) for c in source.categories}
    if missing := [name for name in CLASSES if name not in named.values()]:
        raise SegbenchError(
            f"has no category for VOC's {', '.join(missing)}",
            where=source.path,
            remedy="use COCO's own annotation files",
        )
    return {k: number_of[name] for k, name in named.items() if name in number_of}


def _truth(
    objects: Texts[ObjectEntry], class_of: dict[int, int], entry: ImageEntry, image: Path, path: Path
) -> dict[str, Any]:
    width, height = open_image(image).size
    if (stated := (entry.width or width, entry.height or height)) != (width, height):
        raise SegbenchError(
            f"is {width}x{height} (width x height), {path} states {stated[0]}x{stated[1]}",
            where=image,
            remedy="use the images that were annotated",
        )
    semantic, times = np.zeros((height, width), np.int32), np.zeros((height, width), np.int32)
    for annotation in objects.parsed():
        if annotation.category_id not in class_of:
            continue
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
    return {"semantic": semantic}
