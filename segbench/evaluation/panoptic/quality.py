"""Panoptic quality (Kirillov et al., CVPR 2019), by the rules of panopticapi.

A true and a predicted segment of one class match where their IoU exceeds .5, strictly; the union leaves out
what the prediction covers of void. Predictions without a match that lie mostly on void or on a crowd of their
class are dropped. hotcoco finds the matches. PQ = sum of IoU / (TP + FP / 2 + FN / 2) = SQ x RQ.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from hotcoco.panoptic import PanopticEval

from segbench.contract.scores import Contract, Score, Sheet
from segbench.contract.view import Category
from segbench.errors import SegbenchError
from segbench.evaluation.averages import mean, ratio
from segbench.evaluation.statistics import Batch, Rows, Statistics, positions

_MATCH = "IoU > 0.5"
POOLED = Contract("dataset", "void, crowd", "class skipped", match=_MATCH)
PER_IMAGE = Contract("image", "void, crowd", "class skipped in that image", match=_MATCH)


COLUMNS = ("iou_sum", "true_positives", "false_positives", "false_negatives")


@dataclass
class Side:
    """Truth or prediction of one image, in either form of hotcoco.

    With a folder: one annotation in COCO's panoptic format, whose PNG file lies there. Without: an annotation
    a segment, with its mask; no two overlap.
    """

    annotations: list[dict[str, Any]]
    folder: Path | None = None

    @property
    def class_ids(self) -> set[int]:
        return {
            segment["category_id"]
            for annotation in self.annotations
            for segment in annotation.get("segments_info", [annotation])
        }


def add_image(
    rows: Rows, image_id: int, image: str, truth: Side, predicted: Side, classes: Sequence[Category]
) -> None:
    """Add the statistics of one image; without the classes that neither side names."""
    named = truth.class_ids | predicted.class_ids
    categories = [{"id": c.id, "name": c.name, "isthing": int(c.isthing)} for c in classes if c.id in named]
    if not categories:
        return
    found = _compare(image_id, truth, predicted, categories).results()["per_class"]
    keys = dict(zip(COLUMNS, ("iou", "tp", "fp", "fn")))
    columns = {column: [counts[key] for counts in found.values()] for column, key in keys.items()}
    rows.extend(image_id, image, list(found), **columns)


def _compare(
    image_id: int, truth: Side, predicted: Side, categories: Sequence[dict[str, Any]]
) -> PanopticEval:
    shared = {"images": [{"id": image_id}], "categories": categories}
    run = PanopticEval(
        shared | {"annotations": truth.annotations},
        shared | {"annotations": predicted.annotations},
        gt_folder=truth.folder,
        pred_folder=predicted.folder,
    )
    run.evaluate()
    return run


@contextmanager
def faults_of(truth: Path, true: Side, predictions: Path) -> Iterator[None]:
    """Faults of the files that hotcoco finds, such as a listed segment without a pixel.

    It does not say on which side: the truth is at fault where it cannot be compared with itself either.
    """
    try:
        yield
    except (ValueError, OSError) as error:
        where = predictions if _is_sound(true) else truth
        raise SegbenchError(
            str(error), where=where, remedy="write the annotation of that image and its PNG file again"
        ) from error


def _is_sound(side: Side) -> bool:
    categories = [{"id": i, "name": str(i), "isthing": 1} for i in side.class_ids]
    try:
        _compare(side.annotations[0]["image_id"], side, side, categories)
    except (ValueError, OSError):
        return False
    return True


def counts(batch: Batch, ids: Sequence[int]) -> np.ndarray:
    """For each image and class: images x K x (sum of IoU, TP, FP, FN)."""
    table = np.zeros((len(batch.image_ids), len(ids), len(COLUMNS)))
    for i, column in enumerate(COLUMNS):
        table[batch.image, positions(batch.class_ids, ids), i] = batch.numbers(column)
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
    for batch in statistics.batches("panoptic", COLUMNS):
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
