"""Scores of maps whose classes overlap: each class is a binary problem, scored by itself.

Pixels with void truth are excluded before counting. A class's row in the statistics holds its true pixels, by
whether they are predicted as the class. A further row, of no class (-1), holds the pixels that are predicted
as a class without being of it, by class, and the number of all labelled pixels as predicted as none.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from segbench.contract.scores import Contract, Score, ScoreTable
from segbench.contract.view import has_class
from segbench.errors import SegbenchError
from segbench.evaluation.averages import mean, ratio
from segbench.evaluation.semantic import boundary, centreline
from segbench.evaluation.semantic.confusion import COLUMNS, class_scores, confusion, summed
from segbench.evaluation.semantic.maps import regions
from segbench.evaluation.statistics import NONE, Rows, Statistics

_MATCH = "each class by itself"
POOLED = Contract(pooling="dataset", ignored="void", absent="class skipped", match=_MATCH)
PER_IMAGE = Contract(pooling="image", ignored="void", absent="class skipped in that image", match=_MATCH)


def read_bits(values: np.ndarray, classes: int, void: int, where: Path | str) -> np.ndarray:
    """Check a map of overlapping classes.

    Args:
        values: H x W map of sums of 2 ** index.
        classes: number of classes.
        void: value of void pixels.
        where: what messages name.

    Returns:
        H x W int32 map; -1 on void.

    Raises:
        SegbenchError: the map has another value.
    """
    wrong = ((values < 0) | (values >= 2**classes)) & (values != void)
    if wrong.any():
        y, x = np.argwhere(wrong)[0]
        raise SegbenchError(
            f"value {values[y, x]} at row {y}, column {x} is no sum of bits of {classes} classes",
            where=where,
            remedy=f"values are 0 to {2**classes - 1}, the sum of 2 ** (id - 1) over the classes of a pixel",
        )
    return np.where(values == void, -1, values.astype(np.int32))


def add_image(
    rows: Rows,
    image_id: int,
    image: str,
    truth: np.ndarray,
    predicted: np.ndarray,
    ids: Sequence[int],
    bounds: boundary.Settings | None,
    thin: bool = False,
) -> None:
    """Add the statistics of one image.

    Args:
        rows: rows to extend.
        image_id, image: id and name of the image.
        truth, predicted: H x W maps from `read_bits`.
        ids: category ids of the classes.
        bounds: distances of the boundary metrics; None skips these.
        thin: whether classes have a clDice.
    """
    void = truth < 0
    matrices, edges = [], []
    for index in range(len(ids)):
        # two classes, 0 = background and 1 = the class; 2 = void
        true, guess = (has_class(m, index).astype(np.uint8) for m in (truth, predicted))
        true[void] = 2
        found = regions(true, guess)
        matrix = confusion(found, 2)
        matrices.append(matrix)
        edges.append(boundary.measure(true, guess, found, matrix, bounds) if bounds else {})
        if thin:
            edges[-1] |= centreline.measure(true, guess, 2, [1])
    counts = np.array(matrices)  # class x truth x prediction
    pixels = np.append(counts[:, 1, 1::-1].ravel(), counts[:, 0, 1])
    predictions = np.append(np.array([[i, NONE] for i in ids]).ravel(), ids)
    lengths = [2] * len(ids) + [len(ids) + 1]
    entries = {
        "predicted": (np.append(predictions, NONE), lengths),
        "pixels": (np.append(pixels, np.count_nonzero(~void)), lengths),
    }
    # the further row has neither boundary nor skeleton
    numbers = {name: [*(int(e[name][1]) for e in edges), 0] for name in edges[0]}
    rows.extend(image_id, image, [*ids, NONE], **entries, **numbers)


def labelled(statistics: Statistics) -> int:
    """Return the number of labelled pixels of the split."""
    total = 0
    for batch in statistics.batches("semantic", COLUMNS):
        predicted, lengths = batch.lists("predicted")
        none = (batch.class_ids.repeat(lengths) == NONE) & (predicted == NONE)
        total += int(batch.lists("pixels")[0][none].sum())
    return total


def pooled(statistics: Statistics) -> list[Score]:
    """Return every semantic score of a statistics file whose classes overlap.

    These are the values of `class_scores` and, with TN = N - T - P + TP,

    accuracy       (TP + TN) / N of each class
    *_per_image    mean over the images in which the class has a value, then over the classes
    """
    settings = statistics.metadata.tasks["semantic"]
    total, per_image = summed(statistics)
    pixels = np.array([labelled(statistics)])
    correct, true, predicted = total.T
    values = class_scores(total, pixels)
    values["accuracy"] = ratio(pixels - true - predicted + 2 * correct, pixels)
    scores = ScoreTable("semantic", [c.name for c in settings.classes], bool(settings.conversion))
    for metric, by_class in values.items():
        scores.add(metric, mean(by_class), by_class, POOLED)
    for metric, by_class in per_image.items():
        scores.add(f"{metric}_per_image", mean(by_class), by_class, PER_IMAGE)
    if "boundary" in statistics.metadata.options.families:
        for metric, by_class, contract in boundary.pooled(statistics, [c.id for c in settings.classes]):
            scores.add(metric, mean(by_class), by_class, contract)
    if "cldice" in statistics.metadata.options.families:
        by_class = centreline.of_split(statistics)
        scores.add("cldice", mean(by_class), by_class, centreline.CONTRACT)
    return scores.rows
