"""Score files in COCO's formats."""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import pyarrow as pa

from segbench.contract.evaluation import EvaluationOptions
from segbench.contract.view import Category, Task
from segbench.data.coco import checks
from segbench.errors import SegbenchError
from segbench.evaluation.instance import ap as instance
from segbench.evaluation.instance import tide
from segbench.evaluation.instance.files import read_results, read_truth
from segbench.evaluation.panoptic import quality as panoptic
from segbench.evaluation.panoptic.files import PanopticFiles
from segbench.evaluation.runner.workers import in_chunks
from segbench.evaluation.statistics import Metadata, Rows, TaskSettings, Writer, rows_of

T = TypeVar("T")
log = logging.getLogger(__name__)
OPTIONS = EvaluationOptions(bootstrap_samples=0)


def write(
    path: Path,
    task: Task,
    settings: TaskSettings,
    options: EvaluationOptions,
    images: Mapping[int, T],
    job: Callable[[Sequence[tuple[int, T]]], pa.RecordBatch],
    processes: int,
) -> None:
    """Write the statistics file of one task.

    Args:
        path: the file.
        task, settings, options: what is scored, and how.
        images: image id -> what `job` needs to read the image.
        job: returns the statistics of some (image id, value) pairs of `images`.
        processes: number of processes.

    Raises:
        SegbenchError: there are no images.
    """
    if not images:
        raise SegbenchError("the truth has no images", remedy="give the truth of at least one image")
    with Writer(path, Metadata(options, {task: settings}, tuple(images))) as writer:
        for batch in in_chunks(job, [*images.items()], processes):
            writer.add(batch)


def check_images(
    true: Collection[Any], predicted: Collection[Any], where: Path, missing_as_empty: bool
) -> None:
    """Check that truth and predictions list the same images.

    With `missing_as_empty`, images without predictions cause a warning only.

    Raises:
        SegbenchError: the images differ. The message names `where`, the predictions.
    """
    missing, unknown = ([i for i in a if i not in b] for a, b in ((true, predicted), (predicted, true)))
    if unknown:
        raise SegbenchError(
            f"image {unknown[0]} is not in the truth{checks.more(unknown)}",
            where=where,
            remedy="score predictions on the split that they were made for",
        )
    if missing and not missing_as_empty:
        raise SegbenchError(
            f"has nothing for image {missing[0]}{checks.more(missing)}",
            where=where,
            remedy="predict every image, or count them as empty with --missing-as-empty",
        )
    if missing:
        log.warning(
            "%s: no prediction for image %s%s; it is scored as empty",
            where,
            missing[0],
            checks.more(missing),
        )


class InstancePair:
    """COCO annotations and COCO results that belong to the same images and categories."""

    def __init__(self, truth: Path, predictions: Path, *, boxes: bool) -> None:
        self.boxes = boxes
        self.truth, self.images, found = read_truth(truth, masks=not boxes)
        self.classes = classes_of(found, truth)
        self.shapes = {i: _shape(image, i, truth) for i, image in self.images.items()}
        self.results, other = read_results(predictions, self.images, found, masks=not boxes)
        own = checks.records(other.get("images") or [], "images", predictions)
        lists = (
            names(checks.categories(other.get("categories") or [], predictions), "name"),
            names(checks.listed(own, "image", "file_name", predictions), "file_name"),
        )
        check_lists((names(found, "name"), names(self.images, "file_name")), truth, lists, predictions)
        if not boxes:
            self._check_shapes()

    def _check_shapes(self) -> None:
        """Check that the truth states the size of each image with objects, which masks need."""
        used = {*self.truth.by_image, *self.results.by_image}
        lacking = [i for i, shape in self.shapes.items() if not all(shape) and i in used]
        if lacking:
            raise SegbenchError(
                f"image {lacking[0]} has no height and width, which masks need{checks.more(lacking)}",
                where=self.truth.path,
                remedy="give each image its height and width, or score boxes with --boxes",
            )

    def tide(self, max_detections: int) -> dict[str, Any]:
        """Return the errors by type: see `segbench.evaluation.instance.tide.errors`."""
        images = [{"id": i, "height": height, "width": width} for i, (height, width) in self.shapes.items()]
        categories = [{"id": c.id, "name": c.name} for c in self.classes]
        lists = {"images": images, "categories": categories, "annotations": self.truth.plain(self.shapes)}
        results = self.results.plain(self.shapes)
        return tide.errors(lists, results, boxes=self.boxes, max_detections=max_detections)


Lists = tuple[Mapping[int, Any], Mapping[int, Any]]
"""Names of categories and images by id."""


def check_lists(true: Lists, truth: Path, own: Lists, predictions: Path) -> None:
    """Check that the categories and images that predictions list, if any, have the ids of the truth."""
    checks.check_same_ids(true[0], own[0], "category", truth, predictions)
    stems, own_stems = (
        {i: checks.stem(name) for i, name in images.items() if name} for images in (true[1], own[1])
    )
    checks.check_same_ids(stems, own_stems, "image", truth, predictions)


def names(entries: Mapping[int, dict[str, Any]], key: str) -> dict[int, Any]:
    """Return the value of `key` of each entry, by id."""
    return {number: entry.get(key) for number, entry in entries.items()}


def score_instance(
    truth: Path,
    predictions: Path,
    path: Path,
    *,
    boxes: bool = False,
    max_detections: tuple[int, ...] = (1, 10, 100),
    options: EvaluationOptions = OPTIONS,
    processes: int = 1,
) -> InstancePair:
    """Write the statistics of COCO annotations and COCO results.

    Args:
        truth: file of COCO annotations.
        predictions: file of COCO results.
        path: the statistics file.
        boxes: score boxes instead of masks.
        max_detections: limits of AR, ascending. AP uses the last one.
        options: options of the evaluation.
        processes: number of processes.

    Returns:
        The files that were read.
    """
    pair = InstancePair(truth, predictions, boxes=boxes)
    kinds = ("box",) if boxes else ("mask",)
    settings = TaskSettings(pair.classes, "", max_detections, kinds, options.min_score)
    objects = "objects" in options.families and not boxes

    def read(item: tuple[int, dict[str, Any]]) -> instance.ImageObjects:
        image_id, image = item
        shape, name = pair.shapes[image_id], str(image.get("file_name") or image_id)
        return image_id, name, pair.truth.objects(image_id, shape), pair.results.objects(image_id, shape)

    job = partial(instance.rows_of, "instance", read, settings, objects)
    write(path, "instance", settings, options, dict(sorted(pair.images.items())), job, processes)
    return pair


def classes_of(found: Mapping[int, dict[str, Any]], path: Path) -> tuple[Category, ...]:
    """Return the categories of a COCO file by ascending id. `found` is from `checks.categories`."""
    entries = [
        entry if entry.get("isthing") is not None else entry | {"isthing": 1} for entry in found.values()
    ]
    things = checks.column(entries, "category", "isthing", checks.flag, path)
    return tuple(
        Category(id=i, name=c["name"], isthing=thing, color=(0, 0, 0))
        for (i, c), thing in sorted(zip(found.items(), things), key=lambda pair: pair[0][0])
    )


def _shape(image: dict[str, Any], image_id: int, path: Path) -> tuple[int, int]:
    """Return height and width; 0 where the file has none, as boxes need none."""
    shape = [0 if image.get(key) is None else image[key] for key in ("height", "width")]
    if not all(type(n) is int and 0 <= n < 2**15 for n in shape):
        raise SegbenchError(
            f"image {image_id} has {shape[1]!r} x {shape[0]!r} pixels (width x height)",
            where=path,
            remedy="give height and width as numbers of pixels, below 32768",
        )
    return shape[0], shape[1]


def score_panoptic(
    truth: Path,
    predictions: Path,
    path: Path,
    *,
    truth_folder: Path,
    predictions_folder: Path,
    missing_as_empty: bool = False,
    options: EvaluationOptions = OPTIONS,
    processes: int = 1,
) -> None:
    """Write the statistics of two files in COCO's panoptic format.

    Args:
        truth, predictions: the JSON files.
        path: the statistics file.
        truth_folder, predictions_folder: their folders of PNG files.
        missing_as_empty: score an image without predictions as an empty prediction.
        options: options of the evaluation.
        processes: number of processes.
    """
    true_files = PanopticFiles(truth, truth_folder)
    classes = classes_of(true_files.categories, truth)
    predicted_files = PanopticFiles(predictions, predictions_folder, true_files.categories)
    lists, own = ((names(f.categories, "name"), f.records.images) for f in (true_files, predicted_files))
    check_lists(lists, truth, own, predictions)
    check_images(true_files.records, predicted_files.records, predictions, missing_as_empty)

    def add(rows: Rows, image: tuple[int, str]) -> None:
        image_id, name = image
        true = true_files.annotations(image_id)
        known = image_id in predicted_files.records
        guess = predicted_files.annotations(image_id) if known else []
        with panoptic.faults_of(truth, true, predictions):
            panoptic.add_image(rows, image_id, name, true, guess, classes)

    images = {i: str(i) for i in true_files.records}
    job = partial(rows_of, "panoptic", add)
    write(path, "panoptic", TaskSettings(classes), options, images, job, processes)
