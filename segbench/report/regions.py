"""Readers of what galleries paint: truth and predictions of single images, at the size of a tile."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
from pycocotools import mask as rle

from segbench.contract.view import Category, Task, has_class
from segbench.data.coco.index import AnnotationIndex
from segbench.data.coco.masks import decode
from segbench.data.dataset import ImageRecord, Split
from segbench.data.images import image_size
from segbench.data.painting import VOID, Region
from segbench.evaluation.annotations import Objects, SegmentMap
from segbench.evaluation.instance.files import InstanceFile
from segbench.evaluation.panoptic.files import PanopticFiles
from segbench.evaluation.prediction_folder import PredictionFolder
from segbench.files import read_json

Size = tuple[int, int]
"""Height, width."""
Reader = Callable[[ImageRecord, Size], Iterator[Region]]
"""Yields the regions of an image at the size of a tile, one at a time, as large images may have thousands."""


def truth_reader(split: Split, task: Task) -> Reader:
    """Return a reader of the truth of a task."""
    categories = {c.id: c for c in split.dataset.info.categories}
    if task == "semantic":
        overlapping = split.dataset.info.overlapping
        return lambda record, size: _classes(
            split.read_semantic(record.stem), size, categories, overlapping=overlapping
        )
    if task in ("instance", "detection"):
        path, index = split.instances_json, AnnotationIndex(split.instances_json)

        def objects(record: ImageRecord, size: Size) -> Iterator[Region]:
            file = InstanceFile(path, {record.id: index[record.id]}, task == "instance")
            found = file.objects(record.id, _shape(record))
            if task == "instance":
                return _objects(found, size, categories)
            return _boxes(found, record, size, categories)

        return objects
    files = PanopticFiles(split.panoptic_json, split.panoptic_folder, categories)

    def segments(record: ImageRecord, size: Size) -> Iterator[Region]:
        read, infos = files.read(record.id, _shape(record)), files.records[record.id]["segments_info"]
        crowd = np.array([bool(s.get("iscrowd")) for s in infos], bool)
        void = np.append(True, crowd)[read.index]
        if void.any():
            yield Region(VOID, sample(void, size))
        yield from _segments(read, size, categories, ~crowd)

    return segments


def prediction_reader(
    folder: Path, split: Split, task: Task, least: float, images: Collection[int] | None = None
) -> Reader:
    """Return a reader of the predictions of a task, converted if the network predicts another task.

    Args:
        folder: predictions of a cell.
        split: the images that were predicted.
        task: the task that is shown.
        least: objects with a lower score are skipped.
        images: ids of the images that will be read; None: all. Only their objects are held.
    """
    categories = {c.id: c for c in split.dataset.info.categories}
    index = read_json(folder / "predictions.json")
    predicted = PredictionFolder(split, folder, index["parts"], index["task"], least, images)
    if task == "semantic":
        overlapping = split.dataset.info.overlapping
        return lambda record, size: _classes(
            predicted.semantic(record, _shape(record)), size, categories, overlapping=overlapping
        )
    if task == "panoptic":
        return lambda record, size: _segments(predicted.segments(record, _shape(record)), size, categories)
    if task == "detection":
        limit = 0.0 if predicted.sources[task] == "semantic" else least  # components have no score

        def boxes(record: ImageRecord, size: Size) -> Iterator[Region]:
            found = predicted.objects(task, record, _shape(record))
            return _boxes(found, record, size, categories, limit)

        return boxes
    if predicted.sources[task] == "instance":
        return lambda record, size: _objects(_with_masks(predicted, record), size, categories, least)

    def things(record: ImageRecord, size: Size) -> Iterator[Region]:
        found = predicted.segments(record, _shape(record), task)
        shown = np.array([categories[c].isthing for c in found.class_ids.tolist()], bool)
        if predicted.sources[task] == "panoptic":  # components of a class map have no score
            shown &= found.scores >= least
        return _segments(found, size, categories, shown)

    return things


def _with_masks(predicted: PredictionFolder, record: ImageRecord) -> Objects:
    """Read the objects of an image. If they are boxes only, their masks become the areas inside the boxes."""
    shape = _shape(record)
    found = predicted.objects("instance", record, shape)
    return _filled(found, shape) if predicted.boxes_only else found


def _filled(found: Objects, shape: Size) -> Objects:
    """Replace masks by the areas inside the boxes."""
    return replace(found, masks=rle.frPyObjects(found.boxes, *shape) if len(found.boxes) else [])


def _boxes(
    found: Objects, record: ImageRecord, size: Size, categories: dict[int, Category], least: float = 0.0
) -> Iterator[Region]:
    """Yield the frames of boxes, and crowds, by ascending score."""
    for region in _objects(_filled(found, _shape(record)), size, categories, least):
        yield replace(region, frame=region.is_object)


def _shape(record: ImageRecord) -> Size:
    width, height = image_size(record.path)
    return height, width


def sample(values: np.ndarray, size: Size) -> np.ndarray:
    """Resize an array to (height, width) by the nearest pixels."""
    rows, columns = (((np.arange(n) + 0.5) * m / n).astype(int) for n, m in zip(size, values.shape))
    return values[rows][:, columns]


def _classes(
    ids: np.ndarray, size: Size, categories: dict[int, Category], *, overlapping: bool
) -> Iterator[Region]:
    """Yield the classes. Those that overlap are painted over each other, with outlines."""
    known, ids = {**categories, VOID.id: VOID}, sample(ids, size)
    if overlapping:
        masks = [(VOID, ids < 0), *((c, has_class(ids, i - 1)) for i, c in categories.items())]
        yield from (Region(c, mask, overlaps=c is not VOID) for c, mask in masks if mask.any())
        return
    yield from (Region(known[i], ids == i) for i in np.unique(ids).tolist() if i in known)


def _objects(
    found: Objects, size: Size, categories: dict[int, Category], least: float = 0.0
) -> Iterator[Region]:
    """Yield objects by ascending score, so that the best are on top."""
    for k in np.argsort(found.scores, kind="stable"):
        if found.scores[k] >= least:
            category = VOID if found.crowd[k] else categories[int(found.class_ids[k])]
            yield Region(category, sample(decode(found.masks[k]), size), is_object=not found.crowd[k])


def _segments(
    segments: SegmentMap, size: Size, categories: dict[int, Category], shown: np.ndarray | None = None
) -> Iterator[Region]:
    """Yield segments; `shown` selects some of them."""
    index = sample(segments.index, size)
    for k in np.unique(index[index > 0]).tolist():
        if shown is None or shown[k - 1]:
            category = categories[int(segments.class_ids[k - 1])]
            yield Region(category, index == k, category.isthing)
