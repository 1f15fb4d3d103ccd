"""The images that a network does worst on, from the per-image statistics of a cell."""

from __future__ import annotations

import heapq
from pathlib import Path

import numpy as np

from segbench.data.dataset import Task
from segbench.evaluation import panoptic, semantic
from segbench.evaluation.averages import ratio
from segbench.evaluation.statistics import Batch, Statistics

COLUMNS: dict[Task, tuple[str, ...]] = {
    "semantic": ("predicted", "pixels"),
    "instance": ("object_ious", "object_truths", "object_predictions"),
    "panoptic": panoptic.COLUMNS,
}


def hardest(path: Path, task: Task, count: int) -> list[str]:
    """Stems of the `count` images with the lowest score, worst first: mIoU or PQ of the image, or for objects
    the IoU of matched pairs over all true and predicted objects. Images without a score are left out.
    """
    statistics = Statistics(path)
    scored = statistics.heading.tasks.get(task)
    if scored is None or (
        task == "instance"
        and not ("objects" in statistics.heading.options.families and "mask" in scored.kinds)
    ):
        return []
    ids = [c.id for c in scored.classes]
    ranked = []
    for batch in statistics.batches(task, COLUMNS[task]):
        values = _object_quality(batch) if task == "instance" else _mean_score(batch, task, ids)
        ranked += [(v, name) for v, name in zip(values.tolist(), batch.names()) if v == v]
    return [name for _, name in heapq.nsmallest(count, ranked)]


def _mean_score(batch: Batch, task: Task, ids: list[int]) -> np.ndarray:
    if task == "semantic":
        return semantic.miou(semantic.counts(batch, ids))
    return panoptic.pq(panoptic.counts(batch, ids))


def _object_quality(batch: Batch) -> np.ndarray:
    ious, lengths = batch.lists("object_ious")
    matched, pairs = np.zeros((2, len(batch.image_ids)))
    image = np.repeat(batch.image, lengths)
    np.add.at(matched, image, ious)
    np.add.at(pairs, image, 1)
    objects = np.zeros(len(batch.image_ids))
    np.add.at(objects, batch.image, batch.numbers("object_truths") + batch.numbers("object_predictions"))
    return ratio(matched, objects - pairs)
