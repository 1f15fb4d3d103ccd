"""Panoptic quality (Kirillov et al., CVPR 2019), by the rules of panopticapi.

A true and a predicted segment of one class match if their IoU exceeds 0.5, strictly. Void pixels of the truth
count neither in the intersection nor in the union. A predicted segment without a match is ignored if more
than half of its pixels are void or belong to a crowd of its class. hotcoco finds the matches.

PQ = (sum of IoU of the matches) / (TP + FP / 2 + FN / 2) = SQ x RQ (equation 1 of the paper).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from hotcoco.panoptic import PanopticEval

from segbench.contract.scores import Contract, Score, ScoreTable
from segbench.contract.view import Category
from segbench.errors import SegbenchError
from segbench.evaluation.averages import mean, ratio
from segbench.evaluation.statistics import Batch, Rows, Statistics, positions

_MATCH = "IoU > 0.5"
POOLED = Contract("dataset", "void, crowd", "class skipped", match=_MATCH)
PER_IMAGE = Contract("image", "void, crowd", "class skipped in that image", match=_MATCH)


COLUMNS = ("iou_sum", "true_positives", "false_positives", "false_negatives")


Annotations = list[dict[str, Any]]
"""Segments of one image that do not overlap, in either form that hotcoco reads.

One annotation in COCO's panoptic format, with the path of its PNG file as `file_name`
(`PanopticFiles.annotations`); or an annotation with a mask for each segment (`SegmentMap.annotations`).
"""


def add_image(
    rows: Rows,
    image_id: int,
    image: str,
    truth: Annotations,
    predicted: Annotations,
    classes: Sequence[Category],
) -> None:
    """Add the counts of one image: a row for each class that the truth or the prediction names.

    The truth needs a PNG file, which tells hotcoco the size of the image. `classes` are those of the task.
    """
    named = _class_ids(truth) | _class_ids(predicted)
    categories = [{"id": c.id, "name": c.name, "isthing": int(c.isthing)} for c in classes if c.id in named]
    if not categories:
        return
    found = _compare(image_id, truth, predicted, categories).results()["per_class"]
    keys = dict(zip(COLUMNS, ("iou", "tp", "fp", "fn")))
    columns = {column: [counts[key] for counts in found.values()] for column, key in keys.items()}
    rows.extend(image_id, image, list(found), **columns)


def _compare(
    image_id: int, truth: Annotations, predicted: Annotations, categories: Sequence[dict[str, Any]]
) -> PanopticEval:
    shared = {"images": [{"id": image_id}], "categories": categories}
    run = PanopticEval(
        shared | {"annotations": truth},
        shared | {"annotations": predicted},
        gt_folder=_folder(truth),
        pred_folder=_folder(predicted),
    )
    run.evaluate()
    return run


def _folder(annotations: Annotations) -> str | None:
    """Return the folder of `file_name`; None for masks, for which hotcoco accepts no folder."""
    return "" if any("file_name" in annotation for annotation in annotations) else None


def _class_ids(annotations: Annotations) -> set[int]:
    return {
        segment["category_id"]
        for annotation in annotations
        for segment in annotation.get("segments_info", [annotation])
    }


@contextmanager
def faults_of(truth: Path, true: Annotations, predictions: Path) -> Iterator[None]:
    """Report faults that hotcoco finds in the files, such as a listed segment without a pixel.

    hotcoco does not name the file. It is the truth if the truth cannot be compared with itself either.

    Args:
        truth: file of the truth.
        true: annotations of the compared image in that file.
        predictions: file or folder of the predictions.

    Raises:
        SegbenchError: hotcoco cannot read or compare the annotations.
    """
    try:
        yield
    except (ValueError, OSError) as error:
        where = predictions if _is_sound(true) else truth
        raise SegbenchError(
            str(error), where=where, remedy="write the annotation of that image and its PNG file again"
        ) from error


def _is_sound(true: Annotations) -> bool:
    categories = [{"id": i, "name": str(i), "isthing": 1} for i in _class_ids(true)]
    try:
        _compare(true[0]["image_id"], true, true, categories)
    except (ValueError, OSError):
        return False
    return True


def counts(batch: Batch, ids: Sequence[int]) -> np.ndarray:
    """Return the counts of each image and class, images x K x 4: sum of IoU, TP, FP, FN.

    `ids` are the K category ids.
    """
    table = np.zeros((len(batch.image_ids), len(ids), len(COLUMNS)))
    for i, column in enumerate(COLUMNS):
        table[batch.image, positions(batch.class_ids, ids), i] = batch.numbers(column)
    return table


def quality(table: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return PQ, SQ and RQ, each in 0..1 (Kirillov et al., CVPR 2019, equations 1 and 2).

    SQ = (sum of IoU) / TP, and 0 without a match; RQ = TP / (TP + FP / 2 + FN / 2); PQ = SQ x RQ.
    All three are NaN for a class without true and predicted segments.

    Args:
        table: ... x 4 counts: sum of IoU, TP, FP, FN.
    """
    iou, hits, spurious, missed = np.moveaxis(table, -1, 0)
    weight = hits + spurious / 2 + missed / 2
    sq = np.where(weight > 0, np.nan_to_num(ratio(iou, hits)), np.nan)
    return ratio(iou, weight), sq, ratio(hits, weight)


def pq(table: np.ndarray) -> np.ndarray:
    """Return the mean PQ over the classes with a defined PQ, from ... x K x 4 counts (see `counts`)."""
    return mean(quality(table)[0])


def pooled(statistics: Statistics) -> list[Score]:
    """Return every panoptic score of a statistics file.

    `mpq` averages the PQ of a class over the images where it is defined. `mpq_plus` is CoNIC's mPQ+
    (Graham et al. 2021, 2111.14485): counts of all images are summed first, so it equals `pq`.
    """
    settings = statistics.metadata.tasks["panoptic"]
    ids = [c.id for c in settings.classes]
    total, per_image = np.zeros((len(ids), 4)), np.zeros((2, len(ids)))
    for batch in statistics.batches("panoptic", COLUMNS):
        table = counts(batch, ids)
        total += table.sum(0)
        values = quality(table)[0]
        per_image += np.nansum(values, 0), (~np.isnan(values)).sum(0)
    scores = ScoreTable("panoptic", [c.name for c in settings.classes], bool(settings.conversion))
    things = np.array([c.isthing for c in settings.classes], bool)
    for metric, values in zip(("pq", "sq", "rq"), quality(total)):
        scores.add(metric, mean(values), values, POOLED)
        scores.add_one(f"{metric}_things", mean(values[things]), POOLED)
        scores.add_one(f"{metric}_stuff", mean(values[~things]), POOLED)
    values = ratio(*per_image)
    scores.add("mpq", mean(values), values, PER_IMAGE)
    values = quality(total)[0]
    scores.add("mpq_plus", mean(values), values, POOLED)
    return scores.rows
