"""From a file of per-image statistics to every score; nothing else is read."""

from __future__ import annotations

import csv
import math
from pathlib import Path
from typing import Any

from segbench.contract.scores import PRIMARY, SCORE_COLUMNS, Score
from segbench.evaluation.bootstrap import interval
from segbench.evaluation.instance import ap as instance
from segbench.evaluation.panoptic import quality as panoptic
from segbench.evaluation.semantic import confusion as semantic
from segbench.evaluation.statistics import Statistics
from segbench.files import atomic_path, write_json

_POOL = {"semantic": semantic.pooled, "instance": instance.pooled, "panoptic": panoptic.pooled}


def pool(statistics: Statistics) -> list[Score]:
    return [score for task in statistics.metadata.tasks for score in _POOL[task](statistics)]


def write_scores(statistics: Statistics, out: Path, **figures: Any) -> None:
    """Write scores.csv, where what is undefined is empty, and scores.json into the folder `out`."""
    scores = pool(statistics)
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
    """Contents of scores.json; what is undefined is null. `figures` fit no table and are added as they are.

    `confusion`: a row a true class, a column a predicted class, and a last column for unlabelled pixels.
    """
    metadata = statistics.metadata
    result: dict[str, Any] = {
        "images": len(metadata.image_ids),
        "options": metadata.options.model_dump(),
        "conversions": {task: settings.conversion for task, settings in metadata.tasks.items()},
        "intervals": {},
    }
    if metadata.options.bootstrap_samples:
        for task in metadata.tasks:
            boxes_only = task == "instance" and "mask" not in metadata.tasks[task].kinds
            metric = f"box_{PRIMARY[task]}" if boxes_only else PRIMARY[task]
            result["intervals"][task] = {metric: interval(statistics, task)}
    if "semantic" in metadata.tasks:
        result["confusion"] = {
            "classes": [c.name for c in metadata.tasks["semantic"].classes],
            "pixels": semantic.matrix(statistics).tolist(),
        }
    values = ({"value": None if math.isnan(score.value) else score.value} for score in scores)
    result["scores"] = [score.row() | value for score, value in zip(scores, values)]
    return result | figures
