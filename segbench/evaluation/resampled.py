"""Scores of a cell when its images are weighted, such as on resamples.

All resamples are computed at once: the counts of the images are multiplied by a matrix of weights.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from functools import partial

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
from segbench.evaluation.weighted import summed

Part = tuple[Sequence[str], Callable[[np.ndarray], dict[str, np.ndarray]]]
"""Names of metrics that are computed together, some of which may be missing, and their function."""


def resampled(
    statistics: Statistics, task: Task, weights: np.ndarray, only: str = "", known: Collection[str] = ()
) -> dict[str, np.ndarray]:
    """Return the scores of a cell on B resamples, as B floats by metric.

    The metrics are those of the comparison tables that follow from the per-image statistics. A score is NaN
    where it is undefined, for example on a resample without truth.

    Args:
        statistics: the file of the cell.
        task: a task of the file.
        weights: B x images, how often each image is in each resample.
        only: a metric that is wanted; others may be missing. "": all.
        known: metrics that are not wanted; others that are computed with them may be missing, too.
    """
    found: dict[str, np.ndarray] = {}
    for names, compute in _parts(statistics, task):
        if (not only or only in names) and not any(name in known for name in names):
            found |= compute(weights)
    return found


def _parts(statistics: Statistics, task: Task) -> Iterator[Part]:
    settings, families = statistics.metadata.tasks[task], statistics.metadata.options.families
    if task in ("detection", "instance"):
        for kind in settings.kinds:
            prefix = "" if kind == "mask" else f"{kind}_"
            names = [f"{prefix}{name}" for name in ("ap", "ap50", "ap75")]
            yield names, partial(_instance, statistics, task, kind, prefix)
    elif task == "panoptic":
        names = [f"{name}{of}" for name in ("pq", "sq", "rq") for of in ("", "_things", "_stuff")]
        yield names, partial(_panoptic, statistics)
    else:
        shares = [f"{name}{of}" for name in ("miou", "dice") for of in ("", "_no_background")]
        yield [*shares, "pixel_accuracy"], partial(_semantic, statistics)
        if "boundary" in families:
            yield ("boundary_iou", "boundary_f1"), partial(_boundary, statistics)
        if "cldice" in families:
            yield ("cldice",), lambda weights: {"cldice": mean(centreline.weighted(statistics, weights))}
        if "cases" in families:
            yield cases.IN_UNIT_RANGE, partial(cases.weighted, statistics)


def _instance(
    statistics: Statistics, task: Task, kind: str, prefix: str, weights: np.ndarray
) -> dict[str, np.ndarray]:
    return resampled_ap(instance.detections(statistics, task, kind), weights, prefix)


def _panoptic(statistics: Statistics, weights: np.ndarray) -> dict[str, np.ndarray]:
    things = [c.isthing for c in statistics.metadata.tasks["panoptic"].classes]
    total = summed(statistics, "panoptic", panoptic.counts, panoptic.COLUMNS, weights, width=4)
    return panoptic_scores(total, things)


def _semantic(statistics: Statistics, weights: np.ndarray) -> dict[str, np.ndarray]:
    settings = statistics.metadata.tasks["semantic"]
    objects = [settings.overlapping or c.name != BACKGROUND.name for c in settings.classes]
    total = summed(statistics, "semantic", semantic.counts, semantic.COLUMNS, weights, width=3)
    scores = semantic_scores(total, objects)
    if settings.overlapping:  # a pixel may have several classes, or none
        del scores["pixel_accuracy"]
    return scores


def _boundary(statistics: Statistics, weights: np.ndarray) -> dict[str, np.ndarray]:
    return {metric: mean(values) for metric, values in boundary.weighted(statistics, weights).items()}


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
