"""Scores of a cell when its images are weighted, such as on resamples.

All resamples are computed at once: the counts of the images are multiplied by a matrix of weights.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from segbench.contract.view import BACKGROUND, Task
from segbench.evaluation.averages import mean, ratio
from segbench.evaluation.bootstrap import units
from segbench.evaluation.instance import ap as instance
from segbench.evaluation.instance.resampled_ap import resampled_ap
from segbench.evaluation.panoptic import quality as panoptic
from segbench.evaluation.semantic import boundary, cases, centreline
from segbench.evaluation.semantic import confusion as semantic
from segbench.evaluation.statistics import Statistics, positions


def resampled(
    statistics: Statistics, task: Task, weights: np.ndarray, only: str = ""
) -> dict[str, np.ndarray]:
    """Return the scores of a cell on B resamples, as B floats by metric.

    The metrics are those of the comparison tables that follow from the per-image statistics. A score is NaN
    where it is undefined, for example on a resample without truth.

    Args:
        statistics: the file of the cell.
        task: a task of the file.
        weights: B x images, how often each image is in each resample.
        only: a metric that is wanted; others may be missing. "": all.
    """
    settings = statistics.metadata.tasks[task]
    if task in ("detection", "instance"):
        result: dict[str, np.ndarray] = {}
        for kind in settings.kinds:
            prefix = "" if kind == "mask" else f"{kind}_"
            if not only or only.startswith("box_") == bool(prefix):
                result |= resampled_ap(instance.detections(statistics, task, kind), weights, prefix)
        return result
    if task == "panoptic":
        things = [c.isthing for c in settings.classes]
        return panoptic_scores(_summed(statistics, task, panoptic.counts, panoptic.COLUMNS, weights), things)
    objects = [settings.overlapping or c.name != BACKGROUND.name for c in settings.classes]
    total = _summed(statistics, task, semantic.counts, semantic.COLUMNS, weights)
    scores = semantic_scores(total, objects)
    if settings.overlapping:  # a pixel may have several classes, or none
        del scores["pixel_accuracy"]
    families = statistics.metadata.options.families
    if "boundary" in families and only in ("", "boundary_iou", "boundary_f1"):
        scores |= {metric: mean(values) for metric, values in boundary.weighted(statistics, weights).items()}
    if "cldice" in families and only in ("", "cldice"):
        scores["cldice"] = mean(centreline.weighted(statistics, weights))
    if "cases" in families and only in ("", *cases.IN_UNIT_RANGE):
        scores |= cases.weighted(statistics, weights)
    return scores


def _summed(
    statistics: Statistics, task: Task, counts: Any, columns: Sequence[str], weights: np.ndarray
) -> np.ndarray:
    """Return the weighted sums of the counts of all images, B x K x counts."""
    ids = [c.id for c in statistics.metadata.tasks[task].classes]
    total: Any = 0.0
    for batch in statistics.batches(task, columns):
        at = positions(batch.image_ids, statistics.metadata.image_ids)
        total = total + np.tensordot(weights[:, at].astype(float), counts(batch, ids).astype(float), 1)
    if isinstance(total, float):  # no image has a row
        width = 4 if task == "panoptic" else 3
        return np.zeros((len(weights), len(ids), width))
    return total


def semantic_scores(total: np.ndarray, objects: Sequence[bool]) -> dict[str, np.ndarray]:
    """Return the semantic scores, each of shape B, from B x K x 3 counts (see `semantic.confusion.counts`).

    Args:
        total: the counts.
        objects: for each class, whether it is not the background.
    """
    by_class = semantic.class_scores(total)
    scores = {metric: mean(by_class[metric]) for metric in ("miou", "dice")}
    correct, true, _ = np.moveaxis(total.sum(-2), -1, 0)
    scores["pixel_accuracy"] = ratio(correct, true)
    if not all(objects):
        at = np.asarray(objects, bool)
        for metric in ("miou", "dice"):
            scores[f"{metric}_no_background"] = mean(by_class[metric][:, at])
    return scores


def panoptic_scores(total: np.ndarray, things: Sequence[bool]) -> dict[str, np.ndarray]:
    """Return the panoptic scores, each of shape B, from B x K x 4 counts (see `panoptic.quality.counts`).

    Args:
        total: the counts.
        things: for each class, whether it is a thing.
    """
    scores = {}
    at = np.asarray(things, bool)
    for metric, values in zip(("pq", "sq", "rq"), panoptic.quality(total)):
        scores[metric] = mean(values)
        scores[f"{metric}_things"], scores[f"{metric}_stuff"] = mean(values[:, at]), mean(values[:, ~at])
    return scores


def occurrences(statistics: Statistics, task: Task) -> dict[str, int]:
    """Return in how many images, or groups of images, the truth has each class, by its name."""
    classes = statistics.metadata.tasks[task].classes
    ids = [c.id for c in classes]
    unit = units(statistics.metadata)
    seen = np.zeros((unit.max(initial=-1) + 1, len(ids)), bool)
    columns: tuple[str, ...] = ("truths",)
    if task in ("semantic", "panoptic"):
        columns = semantic.COLUMNS if task == "semantic" else panoptic.COLUMNS
    for batch in statistics.batches(task, columns):
        at = unit[positions(batch.image_ids, statistics.metadata.image_ids)]
        if task == "semantic":
            has = semantic.counts(batch, ids)[..., 1] > 0
        elif task == "panoptic":
            has = panoptic.counts(batch, ids)[..., [1, 3]].sum(-1) > 0
        else:
            has = np.zeros((len(batch.image_ids), len(ids)), bool)
            true = batch.lists("truths")[0].reshape(len(batch), -1)[:, 0] > 0
            has[batch.image[true], positions(batch.class_ids[true], ids)] = True
        np.logical_or.at(seen, at, has)
    return {c.name: int(n) for c, n in zip(classes, seen.sum(0))}
