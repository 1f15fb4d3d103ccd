"""Metrics of one-to-one pairs of objects: precision, recall, F1, the DSB2018 sweep, instance mIoU and AJI.

Predicted and true objects of one class and image are paired one to one so that the sum of IoUs is largest.
A pair is a hit at threshold t if its IoU exceeds t (strictly). A prediction without a hit at 0.5 is ignored
if more than half of its pixels lie in a crowd.

Over the TP hits, FP predictions and FN true objects without a hit:

    precision = TP / (TP + FP)      recall = TP / (TP + FN)      F1 = 2 TP / (2 TP + FP + FN)
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Literal

import numpy as np
from hotcoco.primitives import lsap

from segbench.contract.scores import Contract
from segbench.evaluation.averages import mean, ratio
from segbench.evaluation.instance.matching import THRESHOLDS
from segbench.evaluation.statistics import Statistics, positions

STEPS = np.round(THRESHOLDS, 2)
"""COCO's thresholds without their rounding errors (such as 0.8999999999999999), as IoUs may equal them."""
COLUMNS = ("object_ious", "object_truths", "object_predictions", "aji_intersection", "aji_union")


def measure(iou: np.ndarray, areas: np.ndarray, truth_areas: np.ndarray, crowd: np.ndarray) -> dict[str, Any]:
    """Return the counts of one class in one image, by the names of `COLUMNS`, and `object_partners`: the IoU
    of each true object without crowds with its partner, 0 without one, in the order of `truth_areas`.

    Args:
        iou: D x G IoUs of detections and true objects; for crowds, intersection / area of the detection.
        areas: D areas of the detections in pixels.
        truth_areas: G areas of the true objects in pixels.
        crowd: G bool.
    """
    if not iou.size:
        return {
            "object_ious": np.zeros(0),
            "object_partners": np.zeros(int((~crowd).sum())),
            "object_truths": int((~crowd).sum()),
            "object_predictions": len(areas),
            "aji_intersection": 0,
            "aji_union": round(areas.sum() + truth_areas[~crowd].sum()),
        }
    true = iou[:, ~crowd]
    rows, columns = lsap(true, maximize=True) if true.size else (np.zeros(0, int), np.zeros(0, int))
    paired = true[rows, columns]
    best, partners = np.zeros(len(areas)), np.zeros(true.shape[1])
    best[rows], partners[columns] = paired, paired
    ignored = (best <= STEPS[0]) & (iou[:, crowd] > STEPS[0]).any(1)
    kept = ~ignored
    intersection, union = _aji(true[kept], areas[kept], truth_areas[~crowd])
    return {
        "object_ious": np.sort(best[kept & (best > 0)])[::-1],
        "object_partners": partners,
        "object_truths": int((~crowd).sum()),
        "object_predictions": int(kept.sum()),
        "aji_intersection": intersection,
        "aji_union": union,
    }


def _aji(iou: np.ndarray, areas: np.ndarray, truth_areas: np.ndarray) -> tuple[int, int]:
    """Return intersection and union of the aggregated Jaccard index in pixels.

    Each true object takes the prediction with the highest IoU; several may take the same one. Predictions
    that no object takes add their area to the union (Kumar et al., IEEE TMI 2017, algorithm 1).
    """
    if not iou.size:
        return 0, round(areas.sum() + truth_areas.sum())
    best = iou.argmax(0)
    top = iou[best, np.arange(iou.shape[1])]
    pair = areas[best] + truth_areas
    intersection = np.rint(top * pair / (1 + top))
    touched = top > 0
    free = np.ones(len(areas), bool)
    free[best[touched]] = False
    union = (pair - intersection)[touched].sum() + truth_areas[~touched].sum() + areas[free].sum()
    return round(intersection.sum()), round(union)


def pooled(statistics: Statistics, ids: list[int]) -> Iterator[tuple[str, np.ndarray, Contract]]:
    """Yield (metric, value of each class in 0..1, contract).

    object_precision, object_recall, object_f1: see the module's equations, at IoU > 0.5 over the split.
    dsb2018: TP / (TP + FP + FN), mean over the thresholds, then over the images (2018 Data Science Bowl).
    instance_miou: IoU of each true object's partner, 0 without one, mean over all true objects.
    aji: intersection / union of the aggregated Jaccard index, mean over the images.

    A value is NaN where its denominator is 0. `ids` are the category ids of the classes.
    """
    hits, size = np.zeros((len(ids), len(STEPS))), len(ids)
    truths, predictions, iou_sum = np.zeros(size), np.zeros(size), np.zeros(size)
    aji, aji_images, sweep, images = np.zeros(size), np.zeros(size), np.zeros(size), np.zeros(size)
    for batch in statistics.batches("instance", COLUMNS):
        at = positions(batch.class_ids, ids)
        ious, lengths = batch.lists("object_ious")
        row = np.repeat(np.arange(len(batch)), lengths)
        true, guess = batch.numbers("object_truths"), batch.numbers("object_predictions")
        row_hits = np.zeros((len(batch), len(STEPS)))
        np.add.at(row_hits, row, ious[:, None] > STEPS)
        np.add.at(hits, at, row_hits)
        np.add.at(truths, at, true)
        np.add.at(predictions, at, guess)
        np.add.at(iou_sum, at[row], ious)
        for sums, count, values in (
            (aji, aji_images, ratio(batch.numbers("aji_intersection"), batch.numbers("aji_union"))),
            (sweep, images, mean(ratio(row_hits, (true + guess)[:, None] - row_hits))),
        ):
            defined = ~np.isnan(values)
            np.add.at(sums, at[defined], values[defined])
            np.add.at(count, at[defined], 1)
    low = (
        statistics.metadata.options.min_score
    )  # also for components of a class map, which are not filtered by score

    def contract(pooling: Literal["dataset", "image"], match: str) -> Contract:
        absent = "class skipped" if pooling == "dataset" else "class skipped in that image"
        return Contract(pooling, "crowd", absent, match=match, min_score=low)

    at_half = contract("dataset", "IoU > 0.5")
    yield "object_precision", ratio(hits[:, 0], predictions), at_half
    yield "object_recall", ratio(hits[:, 0], truths), at_half
    yield "object_f1", ratio(2 * hits[:, 0], truths + predictions), at_half
    yield "dsb2018", ratio(sweep, images), contract("image", "IoU > 0.50:0.05:0.95")
    yield "instance_miou", ratio(iou_sum, truths), contract("dataset", "one to one, greatest sum of IoU")
    yield "aji", ratio(aji, aji_images), contract("image", "truth takes its best prediction")
