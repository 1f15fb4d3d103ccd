"""Scores of class maps, from one confusion matrix over the split.

Pixels with void truth are excluded before counting. A pixel without a predicted class counts as missed for
its true class, and as predicted for none.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from segbench.contract.scores import Contract, Score, ScoreTable
from segbench.contract.view import BACKGROUND
from segbench.errors import SegbenchError
from segbench.evaluation.averages import mean, ratio
from segbench.evaluation.semantic import boundary, centreline
from segbench.evaluation.semantic.maps import Regions, look_up, regions
from segbench.evaluation.statistics import NONE, Batch, Rows, Statistics, positions

COLUMNS = ("predicted", "pixels")
POOLED = Contract(pooling="dataset", ignored="void", absent="class skipped")
PER_IMAGE = Contract(pooling="image", ignored="void", absent="class skipped in that image")


class ClassIndex:
    """Convert the values of label maps to class indices 0..K-1, and to K for void and unlabelled pixels.

    Args:
        ids: K category ids; the index of a class is its position in the list.
        void: value of void pixels; None if there are none.
        mapped: value -> other value that it means, in truth and predictions. Void of the truth stays void.
        hint: added to the remedy in the error about unknown values.
    """

    def __init__(
        self, ids: Sequence[int], void: int | None, mapped: Mapping[int, int] | None = None, hint: str = ""
    ) -> None:
        self._hint = hint
        self.ids, self.size = np.asarray(ids), len(ids)
        kind = np.uint8 if self.size < 253 else np.uint16  # `boundary` needs three values beyond the classes
        self._bad = np.iinfo(kind).max
        self._truth = np.full(1 << 16, self._bad, kind)
        if void is not None:
            self._truth[void] = self.size
        self._truth[self.ids] = np.arange(self.size)
        unmapped = self._truth.copy()
        self._prediction = self._truth.copy()
        for value, meaning in (mapped or {}).items():
            self._prediction[value] = unmapped[meaning]
            if value != void:
                self._truth[value] = unmapped[meaning]
        if self._prediction[0] == self._bad:
            self._prediction[0] = self.size
        number = np.arange(len(self._truth))
        changed = (self._truth != number) | (self._prediction != number)
        self._same = int(changed.argmax())
        """Values below this one are their own index."""

    def truth(self, labels: np.ndarray, where: Path | str) -> np.ndarray:
        """Return the class indices of an H x W map of the truth.

        Raises:
            SegbenchError: the map holds an unknown value. The message names `where`, a file or an image.
        """
        return self._look_up(self._truth, labels, where)

    def prediction(self, labels: np.ndarray, where: Path | str) -> np.ndarray:
        """Return the class indices of a predicted map, as `truth` does. If 0 is not a class, it becomes K."""
        return self._look_up(self._prediction, labels, where)

    def _look_up(self, table: np.ndarray, labels: np.ndarray, where: Path | str) -> np.ndarray:
        if labels.dtype == np.uint8:
            if labels.size and labels.max() < self._same:
                return labels.astype(table.dtype, copy=False)
            found = look_up(table[:256], labels)
        else:
            found = np.where(
                (labels >= 0) & (labels < len(table)), table.take(labels, mode="clip"), self._bad
            )
        if labels.size and found.max() == self._bad:
            y, x = np.argwhere(found == self._bad)[0]
            raise SegbenchError(
                f"value {labels[y, x]} at row {y}, column {x} is not in the class list",
                where=where,
                remedy=f"values are {_ranges(np.flatnonzero(table != self._bad))}{self._hint}",
            )
        return found


def _ranges(ids: np.ndarray) -> str:
    """[0, 1, 2, 255] -> '0 to 2, 255'."""
    runs = np.split(ids, np.flatnonzero(np.diff(ids) > 1) + 1)
    return ", ".join(f"{run[0]} to {run[-1]}" if len(run) > 1 else str(run[0]) for run in runs)


def confusion(found: Regions, classes: int) -> np.ndarray:
    """Return the confusion matrix of one image, K x (K + 1) pixel counts.

    Rows are true classes, columns predicted classes. The last column counts pixels without predicted class.

    Args:
        found: of the class indices 0..K-1 as from `ClassIndex`; K = void or unlabelled.
        classes: the number K of classes.
    """
    joint = found.true.astype(np.int64) * (classes + 1) + found.guess
    counts = np.bincount(joint, found.lengths, (classes + 1) ** 2).astype(np.int64)
    return counts.reshape(classes + 1, classes + 1)[:classes]


def add_image(
    rows: Rows,
    image_id: int,
    image: str,
    truth: np.ndarray,
    predicted: np.ndarray,
    index: ClassIndex,
    bounds: boundary.Settings | None,
    thin: Sequence[int] = (),
) -> None:
    """Add the statistics of one image.

    `truth` and `predicted` are H x W class indices as from `index`. `bounds` are the distances of the
    boundary metrics; None skips these. `thin` are the indices of the classes with a clDice.
    """
    found = regions(truth, predicted)
    matrix = confusion(found, index.size)
    edges = boundary.measure(truth, predicted, found, matrix, bounds) if bounds else {}
    if thin:
        edges |= centreline.measure(truth, predicted, index.size, thin)
    present = np.flatnonzero(matrix.any(1) | matrix[:, :-1].any(0))
    row, column = matrix[present].nonzero()
    lengths = np.bincount(row, minlength=len(present))
    entries = {
        "predicted": (np.append(index.ids, NONE)[column], lengths),
        "pixels": (matrix[present[row], column], lengths),
    }
    numbers = {name: values[present] for name, values in edges.items()}
    rows.extend(image_id, image, index.ids[present], **entries, **numbers)


def _entries(batch: Batch, ids: Sequence[int]) -> tuple[np.ndarray, ...]:
    """Return true index, predicted index, pixels of each matrix entry, and the number of entries by row."""
    predicted, lengths = batch.lists("predicted")
    true = positions(batch.class_ids, [*ids, NONE]).repeat(lengths)
    return true, positions(predicted, [*ids, NONE]), batch.lists("pixels")[0], lengths


def counts(batch: Batch, ids: Sequence[int]) -> np.ndarray:
    """Return the pixels of each image and class, images x K x 3: correct, true, predicted.

    `ids` are the K category ids.
    """
    true, guess, pixels, lengths = _entries(batch, ids)
    table = np.zeros((len(batch.image_ids), len(ids) + 1, 3), np.int64)
    image = np.repeat(batch.image, lengths)
    same = true == guess
    np.add.at(table[..., 0], (image[same], true[same]), pixels[same])
    np.add.at(table[..., 1], (image, true), pixels)
    np.add.at(table[..., 2], (image, guess), pixels)
    return table[:, :-1]


def matrix(statistics: Statistics) -> np.ndarray:
    """Return the confusion matrix over the split, K x (K + 1) as from `confusion`."""
    ids = [c.id for c in statistics.metadata.tasks["semantic"].classes]
    total = np.zeros((len(ids), len(ids) + 1), np.int64)
    for batch in statistics.batches("semantic", COLUMNS):
        true, guess, pixels, _ = _entries(batch, ids)
        np.add.at(total, (true, guess), pixels)
    return total


def class_scores(table: np.ndarray, pixels: np.ndarray | None = None) -> dict[str, np.ndarray]:
    """Return the scores of each class, ... x K in 0..1, by metric.

    With the pixels TP = correct, T = true, P = predicted, and N = all:

    miou         IoU = TP / (T + P - TP)          NaN without truth and prediction
    dice         F1 = 2 TP / (T + P)              NaN without truth and prediction
    precision    TP / P                           NaN without prediction
    recall       TP / T                           NaN without truth
    specificity  (N - T - P + TP) / (N - T)       NaN if all pixels are of the class

    Args:
        table: ... x K x 3 pixel counts: correct, true, predicted.
        pixels: ... x 1, the number N; None: the sum of T, as each pixel has one class.
    """
    correct, true, predicted = (table[..., i] for i in range(3))
    total = true.sum(-1, keepdims=True) if pixels is None else pixels
    negative = total - true
    return {
        "miou": ratio(correct, true + predicted - correct),
        "dice": ratio(2 * correct, true + predicted),
        "precision": ratio(correct, predicted),
        "recall": ratio(correct, true),
        "specificity": ratio(negative - (predicted - correct), negative),
    }


def miou(table: np.ndarray) -> np.ndarray:
    """Return the mean IoU over the classes where it is defined, from ... x K x 3 counts (see `counts`)."""
    return mean(class_scores(table)["miou"])


def summed(statistics: Statistics) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Return the K x 3 counts over the split (see `counts`), and IoU and Dice as means over the images."""
    ids = [c.id for c in statistics.metadata.tasks["semantic"].classes]
    total = np.zeros((len(ids), 3), np.int64)
    image_sums: dict[str, np.ndarray] = {k: np.zeros((2, len(ids))) for k in ("miou", "dice")}
    for batch in statistics.batches("semantic", COLUMNS):
        table = counts(batch, ids)
        total += table.sum(0)
        per_image = class_scores(table)
        for metric, sums in image_sums.items():
            sums += np.nansum(per_image[metric], 0), (~np.isnan(per_image[metric])).sum(0)
    return total, {metric: ratio(*sums) for metric, sums in image_sums.items()}


def pooled(statistics: Statistics) -> list[Score]:
    """Return every semantic score of a statistics file.

    These are the values of `class_scores` and

    mean_accuracy    mean recall over the classes
    pixel_accuracy   correct pixels / all pixels
    fwiou            sum over the classes of IoU x T / N (frequency weighted)
    *_no_background  mean over all classes except "background"
    *_per_image      mean over the images in which the class has a value, then over the classes
    """
    settings = statistics.metadata.tasks["semantic"]
    ids = [c.id for c in settings.classes]
    total, per_image = summed(statistics)
    scores = ScoreTable("semantic", [c.name for c in settings.classes], bool(settings.conversion))
    per_class = class_scores(total)
    for metric, values in {**per_class, "mean_accuracy": per_class["recall"]}.items():
        scores.add(metric, mean(values), values, POOLED)
    correct, true, _ = total.sum(0)
    scores.add_one("pixel_accuracy", ratio(correct, true), POOLED)
    scores.add_one("fwiou", ratio(np.nansum(per_class["miou"] * total[:, 1]), true), POOLED)
    objects = [k for k, c in enumerate(settings.classes) if c.name != BACKGROUND.name]
    if len(objects) < len(ids):
        scores.add_one("miou_no_background", mean(per_class["miou"][objects]), POOLED)
        scores.add_one("dice_no_background", mean(per_class["dice"][objects]), POOLED)
    for metric, values in per_image.items():
        scores.add(f"{metric}_per_image", mean(values), values, PER_IMAGE)
    if "boundary" in statistics.metadata.options.families:
        for metric, values, contract in boundary.pooled(statistics, ids):
            scores.add(metric, mean(values), values, contract)
    if "cldice" in statistics.metadata.options.families:
        values = centreline.of_split(statistics)
        scores.add("cldice", mean(values), values, centreline.CONTRACT)
    return scores.rows
