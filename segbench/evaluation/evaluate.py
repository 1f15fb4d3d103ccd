"""Score the predictions of one cell against the truth; both are read from files.

`segbench.evaluation.runner.evaluate` runs this in several processes.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Protocol, TypeVar

import numpy as np
import pyarrow as pa

from segbench.contract.evaluation import EvaluationOptions
from segbench.contract.scores import Score
from segbench.contract.view import Task
from segbench.data.dataset import Dataset, ImageRecord, Split
from segbench.errors import SegbenchError
from segbench.evaluation.conversions import CONVERSIONS
from segbench.evaluation.instance import ap as instance
from segbench.evaluation.instance import tide
from segbench.evaluation.instance.files import read_truth
from segbench.evaluation.panoptic import quality as panoptic
from segbench.evaluation.panoptic.files import PanopticFiles
from segbench.evaluation.pooling import write_scores
from segbench.evaluation.prediction_folder import PredictionFolder
from segbench.evaluation.semantic import boundary, cases, centreline, overlapping
from segbench.evaluation.semantic import confusion as semantic
from segbench.evaluation.semantic.maps import read_labels
from segbench.evaluation.statistics import Metadata, Rows, Statistics, TaskSettings, Writer, rows_of
from segbench.files import read_json

log = logging.getLogger(__name__)
T = TypeVar("T")
R = TypeVar("R")

Job = Callable[[Sequence[ImageRecord]], pa.RecordBatch]
"""Returns the statistics of some images."""


class Spread(Protocol):
    """Calls a job on chunks of items and yields the results in order. `chunk`: items in a chunk."""

    def __call__(
        self, job: Callable[[Sequence[T]], R], items: Sequence[T], *, chunk: int | None = None
    ) -> Iterator[R]: ...


def evaluate(
    dataset_root: Path, predictions: Path, out: Path, *, options: EvaluationOptions, spread: Spread
) -> None:
    """Score a folder of predictions on every task of the dataset for which it holds predictions.

    Predictions are converted where a task was not predicted itself. Three files are written into `out`:
    per_image.parquet (see `segbench.evaluation.statistics`), scores.csv (one row for each score) and
    scores.json (scores, confusion matrix, intervals, conversions, and what could not be scored and why).

    If the predictions are of a part of the split, as `only` in predictions.json says, that part is scored,
    and `of_images` in scores.json is the number of images of the split.

    Args:
        dataset_root: folder of the canonical dataset.
        predictions: folder with predictions.json and the files that it lists.
        out: folder of the results.
        options: options of the evaluation.
        spread: how jobs are spread over processes.

    Raises:
        SegbenchError: the predictions are of another dataset, incomplete or malformed.
    """
    dataset = Dataset(dataset_root)
    index = read_json(predictions / "predictions.json")
    if index["dataset"] != dataset.info.name:
        raise SegbenchError(
            f"predictions of dataset '{index['dataset']}', not '{dataset.info.name}'", where=predictions
        )
    whole = dataset.split(index["split"])
    split = part_of(whole, index)
    predicted = PredictionFolder(split, predictions, index["parts"], index["task"], options.min_score)
    tasks = {task: settings_of(dataset, task, predicted, options) for task in predicted.sources}
    for task, settings in tasks.items():
        log.info("scoring %s (%s)", task, settings.conversion or "as predicted")
    write_statistics(split, predicted, tasks, out / "per_image.parquet", options=options, spread=spread)
    figures: dict[str, Any] = {}
    further: list[Score] = []
    by_case = "semantic" in tasks and "cases" in options.families and not dataset.info.overlapping
    found = cases.volumes(split) if by_case else []
    if found:
        log.info("scoring %d cases", len(found))
        predicted.open("semantic")
        score = _cases(split, predicted, tasks["semantic"], options)
        scores = [one for part in spread(score, found, chunk=1) for one in part]
        further = cases.case_means(
            scores,
            tasks["semantic"].classes,
            derived=bool(tasks["semantic"].conversion),
            tolerance=options.surface_tolerance,
        )
        figures["cases"] = cases.by_case(scores)
        figures["case_images"] = {one.case: [r.id for r in one.records.values()] for one in found}
    if predicted.boxes_only and "instance" in tasks:
        figures["not_applicable"] = "boxes without masks: no AP of masks"
    of_objects: tuple[Task, ...] = ("instance", "detection")
    scored = next((t for t in of_objects if predicted.sources.get(t) == "instance"), None)
    if len(split) < len(whole):
        figures["of_images"] = len(whole)
    elif scored and "tide" in options.families:  # compares whole files
        results, last = predictions / "instances.json", tasks[scored].max_detections[-1]
        boxes = "mask" not in tasks[scored].kinds
        figures["tide"] = tide.errors(split.instances_json, results, boxes=boxes, max_detections=last)
    write_scores(Statistics(out / "per_image.parquet"), out, further, **figures)


def part_of(split: Split, index: dict[str, Any]) -> Split:
    """Return the images of a split that are predicted. `index`: contents of predictions.json."""
    if "only" not in index:
        return split
    only = set(index["only"])
    return split.part([record for record in split if record.stem in only])


def write_statistics(
    split: Split,
    predicted: PredictionFolder,
    tasks: dict[Task, TaskSettings],
    out: Path,
    *,
    options: EvaluationOptions,
    spread: Spread,
) -> None:
    """Write the per-image statistics of the images of a split to the file `out`.

    Args:
        split: the images.
        predicted: their predictions.
        tasks: settings of each task to score, see `settings_of`.
        out: the file.
        options: options of the evaluation.
        spread: how jobs are spread over processes.
    """
    group_of = split.groups()
    groups = tuple(group_of.get(record.stem) for record in split) if group_of else None
    metadata = Metadata(options, tasks, tuple(record.id for record in split), groups)
    with Writer(out, metadata) as writer:
        for task, settings in tasks.items():
            predicted.open(task)
            job = _COMPARE[task](split, predicted, settings, options)
            for batch in spread(job, split.images):
                writer.add(batch)
            writer.flush()


def settings_of(
    dataset: Dataset, task: Task, predicted: PredictionFolder, options: EvaluationOptions
) -> TaskSettings:
    """Return the classes of a task, and how it is scored."""
    source = predicted.sources[task]
    crowded = math.ceil(dataset.info.max_instances / 100) * 100
    return TaskSettings(
        dataset.view(task).classes,
        CONVERSIONS.get((task, source), ""),
        (1, 10, options.max_detections or max(100, crowded)),
        ("box",) if task == "detection" or predicted.boxes_only else ("mask", "box"),
        # the score of a component is its share of the image, not a confidence: every component counts
        min_score=0.0 if source == "semantic" else options.min_score,
        overlapping=dataset.info.overlapping,
    )


def _class_index(split: Split, settings: TaskSettings) -> semantic.ClassIndex:
    return semantic.ClassIndex([c.id for c in settings.classes], split.dataset.info.void)


def _read_maps(
    split: Split, predicted: PredictionFolder, index: semantic.ClassIndex, record: ImageRecord
) -> tuple[np.ndarray, np.ndarray]:
    """Return the class indices of truth and prediction of an image."""
    path = split.semantic_path(record.stem)
    true = index.truth(read_labels(path), path)
    guess = index.prediction(predicted.semantic(record, true.shape), predicted.folder / record.stem)
    return true, guess


def _semantic(
    split: Split, predicted: PredictionFolder, settings: TaskSettings, options: EvaluationOptions
) -> Job:
    bounds, skeletons = boundary.settings(options), "cldice" in options.families
    if settings.overlapping:
        add_bits = partial(_add_bits, split, predicted, settings, bounds, skeletons)
        return partial(rows_of, "semantic", add_bits)
    index = _class_index(split, settings)
    thin = centreline.thin(settings.classes) if skeletons else ()

    def add(rows: Rows, record: ImageRecord) -> None:
        true, guess = _read_maps(split, predicted, index, record)
        semantic.add_image(rows, record.id, record.stem, true, guess, index, bounds, thin)

    return partial(rows_of, "semantic", add)


def _add_bits(
    split: Split,
    predicted: PredictionFolder,
    settings: TaskSettings,
    bounds: boundary.Settings | None,
    thin: bool,
    rows: Rows,
    record: ImageRecord,
) -> None:
    """Add the statistics of an image whose classes overlap."""
    ids, void = [c.id for c in settings.classes], split.dataset.info.void
    path = split.semantic_path(record.stem)
    true = overlapping.read_bits(read_labels(path), len(ids), void, path)
    labels = predicted.semantic(record, true.shape)
    guess = overlapping.read_bits(labels, len(ids), void, predicted.folder / record.stem)
    overlapping.add_image(rows, record.id, record.stem, true, guess, ids, bounds, thin)


def _cases(
    split: Split, predicted: PredictionFolder, settings: TaskSettings, options: EvaluationOptions
) -> Callable[[Sequence[cases.Volume]], list[cases.CaseScores]]:
    read = partial(_read_maps, split, predicted, _class_index(split, settings))
    return partial(
        cases.score_cases, read=read, classes=settings.classes, tolerance=options.surface_tolerance
    )


def _objects(
    task: Task,
    split: Split,
    predicted: PredictionFolder,
    settings: TaskSettings,
    options: EvaluationOptions,
) -> Job:
    truth, images, _ = read_truth(split.instances_json, masks=task == "instance")

    def read(record: ImageRecord) -> instance.ImageObjects:
        shape = images[record.id]["height"], images[record.id]["width"]
        return record.id, record.stem, truth.objects(record.id, shape), predicted.objects(task, record, shape)

    objects = "objects" in options.families and "mask" in settings.kinds
    return partial(instance.rows_of, task, read, settings, objects)


def _panoptic(
    split: Split, predicted: PredictionFolder, settings: TaskSettings, options: EvaluationOptions
) -> Job:
    truth = PanopticFiles(split.panoptic_json, split.panoptic_folder, [c.id for c in settings.classes])

    def add(rows: Rows, record: ImageRecord) -> None:
        guess = predicted.panoptic(record, truth.shape)
        true = truth.annotations(record.id)
        with panoptic.faults_of(split.panoptic_json, true, predicted.folder):
            panoptic.add_image(rows, record.id, record.stem, true, guess, settings.classes)

    return partial(rows_of, "panoptic", add)


_COMPARE: dict[Task, Callable[..., Job]] = {
    "semantic": _semantic,
    "detection": partial(_objects, "detection"),
    "instance": partial(_objects, "instance"),
    "panoptic": _panoptic,
}
