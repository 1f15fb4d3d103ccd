"""Scores of single images, and the images with the lowest scores."""

from __future__ import annotations

import heapq
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from segbench.contract.view import Task
from segbench.evaluation.averages import mean, ratio
from segbench.evaluation.instance import ap as instance
from segbench.evaluation.instance.matching import AREAS, THRESHOLDS
from segbench.evaluation.panoptic import quality as panoptic
from segbench.evaluation.semantic import confusion as semantic
from segbench.evaluation.statistics import Batch, Statistics


def image_scores(statistics: Statistics, task: Task) -> Iterator[tuple[int, str, float]]:
    """Yield (image id, name, score) of each image that has truth or predictions.

    The score is in 0..1, or NaN where it is undefined:

    semantic: mIoU of the image.
    panoptic: PQ of the image.
    instance: mean over classes and COCO's ten IoU thresholds of TP / (TP + FP + FN), for detections with a
        score of at least `min_score`.
    detection: the same of boxes.
    """
    ids = [c.id for c in statistics.metadata.tasks[task].classes]
    kind = statistics.metadata.tasks[task].kinds[0]
    objects = ("scores", f"{kind}_matched", f"{kind}_ignored", "truths")
    columns = {"semantic": semantic.COLUMNS, "panoptic": panoptic.COLUMNS}.get(task, objects)
    for batch in statistics.batches(task, columns):
        if task == "semantic":
            values = semantic.miou(semantic.counts(batch, ids))
        elif task == "panoptic":
            values = panoptic.pq(panoptic.counts(batch, ids))
        else:
            values = _object_scores(batch, kind, statistics.metadata.tasks[task].min_score)
        yield from zip(batch.image_ids.tolist(), batch.names(), values.tolist())


def worst(path: Path, task: Task, count: int) -> list[str]:
    """Return the names of the `count` images with the lowest scores, worst first.

    The list is empty if `task` was not scored. `path` is a statistics file.
    """
    statistics = Statistics(path)
    if task not in statistics.metadata.tasks:
        return []
    found = ((score, name) for _, name, score in image_scores(statistics, task) if not np.isnan(score))
    return [name for _, name in heapq.nsmallest(count, found)]


def _object_scores(batch: Batch, kind: str, min_score: float) -> np.ndarray:
    scores, lengths = batch.lists("scores")
    truths = batch.lists("truths")[0].reshape(-1, len(AREAS))[:, 0]
    row = np.repeat(np.arange(len(batch)), lengths)
    matched, ignored = (batch.lists(f"{kind}_{c}")[0].reshape(-1, len(AREAS)) for c in ("matched", "ignored"))
    hits, misses = instance.hits(matched[:, 0], ignored[:, 0])
    sure = scores >= min_score
    per_row = np.zeros((2, len(THRESHOLDS), len(batch)))
    for sums, found in zip(per_row, (hits, misses)):
        for t, flags in enumerate(found & sure):
            sums[t] = np.bincount(row, weights=flags, minlength=len(batch))
    values = mean(ratio(per_row[0], truths + per_row[1]), 0)
    totals = np.zeros((2, len(batch.image_ids)))
    defined = ~np.isnan(values)
    np.add.at(totals[0], batch.image[defined], values[defined])
    np.add.at(totals[1], batch.image[defined], 1)
    return ratio(*totals)
