"""Cityscapes: the 19 classes that its benchmark scores, 8 of them with objects. Cordts et al. 2016.

All truth follows from `*_instanceIds.png`: its values are labels (0 to 33), or label * 1000 + n of objects.
A label alone, of a class with objects, is a group that was not separated: a crowd. Labels that the benchmark
ignores are void. `val` is scored, as the truth of `test` is not public.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from segbench.contract.view import Category, Color
from segbench.data.coco.masks import objects_of_map
from segbench.data.converters.common import NoOptions as Options
from segbench.data.converters.common import parse_options, require
from segbench.data.dataset import Archives, Converted, Sample
from segbench.data.images import read_label_map
from segbench.data.junk import listed
from segbench.errors import SegbenchError

IMAGES, TRUTHS = "leftImg8bit_trainvaltest.zip", "gtFine_trainvaltest.zip"
IMAGE_SUFFIX, TRUTH_SUFFIX = "_leftImg8bit.png", "_gtFine_instanceIds.png"
SPLITS = ("train", "val")
LABELS = 34
"""Number of labels, with those that are void."""
GROUP = 1000
"""Values below it are labels; the others are label * 1000 + number of the object."""


@dataclass(frozen=True)
class _Label:
    """A row of the official table: the label in the files, the class, its colour."""

    number: int
    name: str
    color: Color
    isthing: bool = False


CLASSES = (
    _Label(7, "road", (128, 64, 128)),
    _Label(8, "sidewalk", (244, 35, 232)),
    _Label(11, "building", (70, 70, 70)),
    _Label(12, "wall", (102, 102, 156)),
    _Label(13, "fence", (190, 153, 153)),
    _Label(17, "pole", (153, 153, 153)),
    _Label(19, "traffic light", (250, 170, 30)),
    _Label(20, "traffic sign", (220, 220, 0)),
    _Label(21, "vegetation", (107, 142, 35)),
    _Label(22, "terrain", (152, 251, 152)),
    _Label(23, "sky", (70, 130, 180)),
    _Label(24, "person", (220, 20, 60), isthing=True),
    _Label(25, "rider", (255, 0, 0), isthing=True),
    _Label(26, "car", (0, 0, 142), isthing=True),
    _Label(27, "truck", (0, 0, 70), isthing=True),
    _Label(28, "bus", (0, 60, 100), isthing=True),
    _Label(31, "train", (0, 80, 100), isthing=True),
    _Label(32, "motorcycle", (0, 0, 230), isthing=True),
    _Label(33, "bicycle", (119, 11, 32), isthing=True),
)
"""The classes in the order of the official `trainId`."""
_CATEGORY = {label.number: category for category, label in enumerate(CLASSES, 1)}
_THINGS = {label.number for label in CLASSES if label.isthing}


def convert(archives: Archives, options: dict[str, Any]) -> Converted:
    """Convert the archives. It takes no options."""
    parse_options(Options, options)
    return Converted(
        categories=[
            Category(id=_CATEGORY[label.number], name=label.name, isthing=label.isthing, color=label.color)
            for label in CLASSES
        ],
        background=False,
        evaluation_split="val",
        orientation="stored",
        division="published",
        partial=True,
        samples=_samples(archives[IMAGES] / "leftImg8bit", archives[TRUTHS] / "gtFine"),
    )


def _samples(images: Path, truths: Path) -> Iterator[Sample]:
    for split in SPLITS:
        image_of = _by_frame(require(images / split), IMAGE_SUFFIX)
        truth_of = _by_frame(require(truths / split), TRUTH_SUFFIX)
        for frame in sorted({*image_of, *truth_of}):
            if frame not in truth_of:
                yield _incomplete(split, frame, image_of[frame], f"no {TRUTH_SUFFIX} in {TRUTHS}")
            elif frame not in image_of:
                yield _incomplete(split, frame, truth_of[frame], f"no {IMAGE_SUFFIX} in {IMAGES}")
            else:
                truth = truth_of[frame]
                yield Sample(
                    split,
                    frame,
                    image_of[frame],
                    source=truth,
                    group=truth.parent.name,
                    load=partial(_truth, truth),
                )


def _incomplete(split: str, frame: str, path: Path, what: str) -> Sample:
    remedy = "fetch both archives again, or remove the frame from both"
    return Sample(split, frame, path, faults=[SegbenchError(f"has {what}", where=path, remedy=remedy)])


def _by_frame(folder: Path, suffix: str) -> dict[str, Path]:
    """Return the files of a split, by `<city>_<sequence>_<frame>`."""
    return {path.name.removesuffix(suffix): path for path in listed(folder, f"*/*{suffix}")}


def _truth(truth: Path) -> dict[str, Any]:
    ids = read_label_map(truth).astype(np.int32)
    labels = np.where(ids < GROUP, ids, ids // GROUP)
    if labels.max() >= LABELS or labels.min() < 0:
        wrong = (labels < 0) | (labels >= LABELS)
        y, x = np.argwhere(wrong)[0]
        what = (
            f"value {ids[y, x]} at x={x}, y={y} is no label (0 to {LABELS - 1}) and no object of one "
            f"({np.count_nonzero(wrong)} such pixels)"
        )
        remedy = f"use the *{TRUTH_SUFFIX} of the official archive"
        raise SegbenchError(what, where=truth, remedy=remedy)
    table = np.full(LABELS, -1, np.int32)
    table[list(_CATEGORY)] = list(_CATEGORY.values())
    semantic = table[labels]
    # one segment for each object or crowd, and one for all pixels of another class
    segments = np.where(np.isin(labels, [*_THINGS]), ids, labels)
    segments[semantic < 0] = 0
    category_of = {k: _CATEGORY[k if k < GROUP else k // GROUP] for k in np.unique(segments).tolist() if k}
    crowds = {k for k in category_of if k in _THINGS}
    things = {k: c for k, c in category_of.items() if k in _THINGS or k >= GROUP}
    info = [{"id": k, "category_id": c, "iscrowd": int(k in crowds)} for k, c in category_of.items()]
    return {
        "semantic": semantic,
        "instances": objects_of_map(segments, things, crowds),
        "panoptic": (segments, info),
    }
