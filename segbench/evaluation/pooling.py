"""Compute every score from a file of per-image statistics; nothing else is read."""

from __future__ import annotations

import csv
import math
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from segbench.contract.scores import SCORE_COLUMNS, Score
from segbench.contract.view import Task
from segbench.evaluation.instance import ap as instance
from segbench.evaluation.intervals import interval, primary_metric
from segbench.evaluation.panoptic import quality as panoptic
from segbench.evaluation.semantic import confusion as semantic
from segbench.evaluation.semantic import overlapping
from segbench.evaluation.statistics import Statistics
from segbench.files import atomic_path, write_json

_POOL: dict[Task, Callable[[Statistics], list[Score]]] = {
    "semantic": semantic.pooled,
    "detection": partial(instance.pooled, task="detection"),
    "instance": partial(instance.pooled, task="instance"),
    "panoptic": panoptic.pooled,
}


def pool(statistics: Statistics) -> list[Score]:
    """Return the scores of all tasks of a statistics file."""
    return [score for task in statistics.metadata.tasks for score in _scores(statistics, task)]


def _scores(statistics: Statistics, task: Task) -> list[Score]:
    if statistics.metadata.tasks[task].overlapping:
        return overlapping.pooled(statistics)
    return _POOL[task](statistics)


def write_scores(statistics: Statistics, out: Path, further: Sequence[Score] = (), **figures: Any) -> None:
    """Write scores.csv and scores.json into the folder `out`.

    Undefined values are empty in scores.csv and null in scores.json. `further` are scores that do not follow
    from the statistics. `figures` are added to scores.json.
    """
    scores = [*pool(statistics), *further]
    with (
        atomic_path(out / "scores.csv") as path,
        path.open("w", newline="", encoding="utf-8") as file,
    ):
        writer = csv.DictWriter(file, SCORE_COLUMNS)
        writer.writeheader()
        for score in scores:
            writer.writerow(score.row() | {"value": "" if math.isnan(score.value) else repr(score.value)})
    write_json(out / "scores.json", document(statistics, scores, **figures), indent=1)


def document(statistics: Statistics, scores: list[Score], **figures: Any) -> dict[str, Any]:
    """Return the contents of scores.json, with `figures` as additional entries. Undefined values are None.

    `confusion` has a row for each true class and a column for each predicted class, in pixels. The last
    column counts pixels without a predicted class. Classes that overlap have none. `groups` is the number of
    groups that the intervals resample, if images have groups.
    """
    metadata = statistics.metadata
    result: dict[str, Any] = {
        "images": len(metadata.image_ids),
        "options": metadata.options.model_dump(),
        "conversions": {task: settings.conversion for task, settings in metadata.tasks.items()},
        "intervals": {},
    }
    if metadata.groups:
        result["groups"] = len(set(metadata.groups) - {None}) + metadata.groups.count(None)
    if metadata.options.bootstrap_samples:
        for task in metadata.tasks:
            result["intervals"][task] = {primary_metric(statistics, task): interval(statistics, task)}
    if "semantic" in metadata.tasks and not metadata.tasks["semantic"].overlapping:
        result["confusion"] = {
            "classes": [c.name for c in metadata.tasks["semantic"].classes],
            "pixels": semantic.matrix(statistics).tolist(),
        }
    values = ({"value": None if math.isnan(score.value) else score.value} for score in scores)
    result["scores"] = [score.row() | value for score, value in zip(scores, values)]
    return result | figures
