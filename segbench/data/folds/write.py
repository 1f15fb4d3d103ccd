"""The fold step: write one fold of a converted dataset, as a dataset of its own.

Its `test` split has the images of the fold and its `train` split those of all other folds. Images are hard
links. Truth, statistics and ids are written as by a conversion, so every later step reads a fold like any
other dataset.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from segbench.contract.view import has_class
from segbench.data.cases import read_slices
from segbench.data.coco.index import AnnotationIndex
from segbench.data.coco.jsonstream import scan
from segbench.data.dataset import Converted, Dataset, ImageRecord, Sample, Split, rgb_to_id
from segbench.data.folds.assign import assign
from segbench.data.images import open_image
from segbench.data.writing.writer import write_dataset
from segbench.errors import SegbenchError

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Member:
    """An image that takes part in the cross-validation."""

    split: Split
    record: ImageRecord
    name: str
    """Name in the folds: its stem, after the name of its split if two splits have an image of one name."""
    group: str | None


def write_fold(root: Path, folds: int, fold: int, out: Path) -> None:
    """Write the dataset of one fold.

    Args:
        root: folder of the converted dataset.
        folds: number of folds.
        fold: number of the fold, from 0.
        out: folder to write.

    Raises:
        SegbenchError: the dataset has fewer groups than folds.
    """
    dataset = Dataset(root)
    info = dataset.info
    found = members(dataset)
    presence = presence_of(dataset, found)
    fold_of = divided(dataset, found, presence, folds)
    absent = [c.name for c, seen in zip(info.categories, presence[fold_of != fold].any(0)) if not seen]
    if absent:
        log.warning("fold %d: classes without training images: %s", fold, ", ".join(absent))
    held_out = {m.name for m, f in zip(found, fold_of) if f == fold}
    write_dataset(
        Converted(
            info.categories,
            info.background,
            "test",
            _samples(dataset, found, held_out),
            orientation="stored",
            partial=True,
            boxes="instance" not in info.tasks and "detection" in info.tasks,
            division="own",
            overlapping=info.overlapping,
        ),
        out,
        **{key: getattr(info, key) for key in ("name", "title", "licence", "citation", "archives")},
        channels=info.channels,
        window=info.levels.ranges if info.levels and info.levels.stated else None,
        max_pixels=info.max_pixels,
    )
    log.info("%s, fold %d of %d: %d of %d images", info.name, fold, folds, len(held_out), len(found))


def divided(dataset: Dataset, found: list[Member], presence: np.ndarray, folds: int) -> np.ndarray:
    """Return the fold of each of the images `found`, from 0.

    Args:
        dataset: the dataset.
        found: its `members`.
        presence: their `presence_of`.
        folds: number of folds.

    Raises:
        SegbenchError: the dataset has fewer groups than folds.
    """
    # an image without a group is one of its own, whose label is no name of a group
    labels = [f"group {m.group}" if m.group is not None else f"image {m.name}" for m in found]
    if len(set(labels)) < folds:
        kind = "groups" if any(m.group is not None for m in found) else "images"
        raise SegbenchError(
            f"has {len(set(labels))} {kind}, which cannot be divided into {folds} folds",
            where=f"dataset {dataset.info.name}",
            remedy=f"set `folds` to {len(set(labels))} or less" if len(set(labels)) > 1 else "remove `folds`",
        )
    return assign(presence, labels, folds)


def members(dataset: Dataset) -> list[Member]:
    """Return the images of all splits that cross-validation divides.

    These are all splits if the conversion divided the images, else all but the evaluation split.
    """
    info = dataset.info
    names = [s for s in info.splits if info.division == "own" or s != info.evaluation_split]
    return members_of(dataset, names)


def members_of(dataset: Dataset, names: Iterable[str]) -> list[Member]:
    """Return the images of some splits, with names that are unique."""
    splits = [dataset.split(name) for name in names]
    stems = [record.stem for split in splits for record in split]
    unique = len(set(stems)) == len(stems)
    return [
        Member(
            split, record, record.stem if unique else f"{split.name}_{record.stem}", groups.get(record.stem)
        )
        for split, groups in ((split, split.groups()) for split in splits)
        for record in split
    ]


def presence_of(dataset: Dataset, found: list[Member]) -> np.ndarray:
    """Return which classes occur in each image, by its semantic map or its boxes: N x C bool."""
    rows = np.zeros((len(found), len(dataset.info.categories)), bool)
    mapped = "semantic" in dataset.info.tasks
    objects = {} if mapped else {m.split.name: m.split.instances_json for m in found}
    boxes = {name: AnnotationIndex(path) for name, path in objects.items()}
    for row, member in zip(rows, found):
        if mapped:
            ids = member.split.read_semantic(member.record.stem)
            if dataset.info.overlapping:
                row[:] = [has_class(ids, k).any() for k in range(len(row))]
            else:
                row[:] = np.bincount(ids[ids > 0], minlength=len(row) + 1)[1:] > 0
        else:
            row[[one["category_id"] - 1 for one in boxes[member.split.name][member.record.id]]] = True
    return rows


def _samples(dataset: Dataset, found: list[Member], held_out: set[str]) -> Iterator[Sample]:
    """Yield the images with the truth that the source annotates; what follows from it is derived again."""
    annotated = set(dataset.info.tasks) - set(dataset.info.derived)
    truth = {}
    for member in found:
        split, record = member.split, member.record
        if split.name not in truth:  # members are in the order of their splits
            truth = {split.name: _Annotations(split, annotated)}
            slices = read_slices(split.root)
        objects, segments = truth[split.name].of(record)
        place = slices.get(record.stem)
        if place is not None and member.name != record.stem:
            place = place.model_copy(update={"case": f"{split.name}_{place.case}"})
        yield Sample(
            "test" if member.name in held_out else "train",
            member.name,
            record.path,
            semantic=split.read_semantic(record.stem) if "semantic" in annotated else None,
            instances=objects,
            panoptic=segments,
            group=member.group,
            slice=place,
        )


class _Annotations:
    """The entries of the JSON files of a split, by image. They are kept as text, which takes less memory."""

    def __init__(self, split: Split, annotated: set[Any]) -> None:
        self._split = split
        self._objects = self._read(split.instances_json) if {"instance", "detection"} & annotated else None
        self._segments = self._read(split.panoptic_json) if "panoptic" in annotated else None

    def _read(self, path: Path) -> list[list[str]]:
        lines: list[list[str]] = [[] for _ in self._split.images]
        for key, value, _, _ in scan(path):
            if key == "annotations":
                lines[value["image_id"] - 1].append(json.dumps(value))
        return lines

    def of(
        self, record: ImageRecord
    ) -> tuple[list[dict[str, Any]] | None, tuple[np.ndarray, list[dict[str, Any]]] | None]:
        """Return `instances` and `panoptic` of the sample of an image."""
        objects = segments = None
        if self._objects is not None:
            read = map(json.loads, self._objects[record.id - 1])
            objects = [{k: v for k, v in one.items() if k not in ("id", "image_id")} for one in read]
        if self._segments is not None:
            infos = json.loads(self._segments[record.id - 1][0])["segments_info"]
            path = self._split.panoptic_folder / f"{record.stem}.png"
            segments = rgb_to_id(np.asarray(open_image(path).convert("RGB"))), infos
        return objects, segments
