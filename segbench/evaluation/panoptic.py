"""Panoptic quality (Kirillov et al., CVPR 2019), by the rules of panopticapi.

A true and a predicted segment of one class match where their IoU exceeds .5, strictly; the union leaves out
what the prediction covers of void. Predictions without a match that lie mostly on void or on a crowd of their
class are dropped. PQ = sum of IoU / (TP + FP / 2 + FN / 2) = SQ x RQ.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from segbench.evaluation.averages import mean, ratio
from segbench.evaluation.contract import Contract, Score, Sheet
from segbench.evaluation.statistics import Batch, Rows, Statistics, positions

_MATCH = "IoU > 0.5"
POOLED = Contract("dataset", "void, crowd", "class skipped", match=_MATCH)
PER_IMAGE = Contract("image", "void, crowd", "class skipped in that image", match=_MATCH)


@dataclass
class Segments:
    """One panoptic annotation: `index` H x W holds 0 = void and k + 1 = the k-th segment."""

    index: np.ndarray
    class_ids: np.ndarray
    crowd: np.ndarray


def add_image(rows: Rows, image_id: int, image: str, truth: Segments, predicted: Segments) -> None:
    """Add the statistics of one image."""
    shape = len(truth.class_ids) + 1, len(predicted.class_ids) + 1
    joint = truth.index.astype(np.int32) * shape[1] + predicted.index
    overlap = np.bincount(joint.ravel(), minlength=shape[0] * shape[1]).reshape(shape)
    areas, predicted_areas = overlap.sum(1)[1:], overlap.sum(0)[1:]
    void, overlap = overlap[0, 1:], overlap[1:, 1:]
    same = truth.class_ids[:, None] == predicted.class_ids
    iou = np.where(same & ~truth.crowd[:, None], overlap, 0) / np.maximum(
        areas[:, None] + predicted_areas - overlap - void, 1
    )
    matched = iou > 0.5
    missed = ~matched.any(1) & ~truth.crowd
    on_crowd = np.zeros(len(void), int)
    for k in np.flatnonzero(truth.crowd):  # of several crowds of one class panopticapi sees the last only
        on_crowd[same[k]] = overlap[k, same[k]]
    dropped = (void + on_crowd) > 0.5 * predicted_areas
    spurious = ~matched.any(0) & ~dropped & (predicted_areas > 0)
    for c in np.union1d(truth.class_ids[~truth.crowd], predicted.class_ids):
        own = matched & (truth.class_ids == c)[:, None]
        rows.add(
            image_id,
            image,
            int(c),
            ious=iou[own],
            false_positives=int((spurious & (predicted.class_ids == c)).sum()),
            false_negatives=int((missed & (truth.class_ids == c)).sum()),
        )


def counts(batch: Batch, ids: Sequence[int]) -> np.ndarray:
    """For each image and class: images x K x (sum of IoU, TP, FP, FN)."""
    ious, lengths = batch.lists("ious")
    image, at = batch.image, positions(batch.class_ids, ids)
    table = np.zeros((len(batch.image_ids), len(ids), 4))
    np.add.at(table[..., 0], (image.repeat(lengths), at.repeat(lengths)), ious)
    table[image, at, 1] = lengths
    table[image, at, 2] = batch.numbers("false_positives")
    table[image, at, 3] = batch.numbers("false_negatives")
    return table


def quality(table: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(PQ, SQ, RQ) of ... x (sum of IoU, TP, FP, FN).

    NaN where nothing is true or predicted; SQ is 0 where nothing matches.
    """
    iou, hits, spurious, missed = np.moveaxis(table, -1, 0)
    weight = hits + spurious / 2 + missed / 2
    sq = np.where(weight > 0, np.nan_to_num(ratio(iou, hits)), np.nan)
    return ratio(iou, weight), sq, ratio(hits, weight)


def pq(table: np.ndarray) -> np.ndarray:
    """The primary score from ... x K x 4 counts."""
    return mean(quality(table)[0])


def pooled(statistics: Statistics) -> list[Score]:
    """Every panoptic score of a statistics file."""
    scored = statistics.heading.tasks["panoptic"]
    ids = [c.id for c in scored.classes]
    total, per_image = np.zeros((len(ids), 4)), np.zeros((2, len(ids)))
    for batch in statistics.batches("panoptic", ("ious", "false_positives", "false_negatives")):
        table = counts(batch, ids)
        total += table.sum(0)
        values = quality(table)[0]
        per_image += np.nansum(values, 0), (~np.isnan(values)).sum(0)
    sheet = Sheet("panoptic", [c.name for c in scored.classes], bool(scored.conversion))
    things = np.array([c.isthing for c in scored.classes], bool)
    for metric, values in zip(("pq", "sq", "rq"), quality(total)):
        sheet.add(metric, mean(values), values, POOLED)
        sheet.add_one(f"{metric}_things", mean(values[things]), POOLED)
        sheet.add_one(f"{metric}_stuff", mean(values[~things]), POOLED)
    values = ratio(*per_image)
    sheet.add("mpq", mean(values), values, PER_IMAGE)
    values = quality(total)[0]
    sheet.add("mpq_plus", mean(values), values, POOLED)
    return sheet.scores
