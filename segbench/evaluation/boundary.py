"""How well the outlines of a class map fit: boundary IoU and boundary F1.

Boundary IoU (Cheng et al., CVPR 2021): IoU of the bands inside the contours, all images pooled; the image's
border is a contour, as there. Boundary F1 (Csurka et al., BMVC 2013): share of the contour pixels of a
class that have a contour pixel of that class near them on the other side; harmonic mean of both directions,
averaged over images. Distances are chessboard distances. Contours towards void are none.

All classes are measured at once: a pixel lies within d of another class where the largest and the smallest
label in its window differ.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from segbench.evaluation.averages import ratio
from segbench.evaluation.contract import Contract
from segbench.evaluation.options import EvaluationOptions
from segbench.evaluation.statistics import Statistics, positions

COLUMNS = (
    "boundary_intersection",
    "boundary_union",
    "contour_truth",
    "contour_truth_hit",
    "contour_predicted",
    "contour_predicted_hit",
)


@dataclass(frozen=True)
class Settings:
    width: float
    """Of the band, as a share of the image's diagonal."""
    tolerance: float
    """Of the contour, as a share of the image's diagonal."""


def settings(options: EvaluationOptions) -> Settings | None:
    """None where boundaries are not scored."""
    if "boundary" not in options.families:
        return None
    return Settings(options.boundary_width, options.contour_tolerance)


def measure(
    truth: np.ndarray, predicted: np.ndarray, classes: int, settings: Settings
) -> dict[str, np.ndarray]:
    """Counts of each class, by the names of `COLUMNS`. Maps hold positions, `classes` = void or none."""
    diagonal = float(np.hypot(*truth.shape))
    width, tolerance = (max(1, round(s * diagonal)) for s in (settings.width, settings.tolerance))
    void = truth == classes

    def count(labels: np.ndarray, where: np.ndarray) -> np.ndarray:
        return np.bincount(labels[where], minlength=classes + 1)[:classes]

    bands = [_near_other(m, void, classes, width, border=True) & ~void for m in (truth, predicted)]
    both = count(truth, bands[0] & bands[1] & (truth == predicted))
    contours = [_near_other(m, void, classes, 1, border=False) & ~void for m in (truth, predicted)]
    hits = _hits(truth, predicted, contours, classes, tolerance)
    return {
        "boundary_intersection": both,
        "boundary_union": count(truth, bands[0]) + count(predicted, bands[1]) - both,
        "contour_truth": count(truth, contours[0]),
        "contour_truth_hit": count(truth, hits[0]),
        "contour_predicted": count(predicted, contours[1]),
        "contour_predicted_hit": count(predicted, hits[1]),
    }


def _near_other(
    labels: np.ndarray, neutral: np.ndarray, classes: int, distance: int, *, border: bool
) -> np.ndarray:
    """Where a pixel of another label lies within `distance`; neutral pixels are no labels."""
    kind = np.uint8 if classes < 254 else np.uint16
    top = np.iinfo(kind).max
    low = (labels + 1).astype(kind)
    high = low.copy()
    low[neutral], high[neutral] = top, 0
    smallest = _window(low, distance, np.minimum, top)
    return _window(high, distance, np.maximum, classes + 2 if border else 0) != smallest


def _hits(
    truth: np.ndarray,
    predicted: np.ndarray,
    contours: list[np.ndarray],
    classes: int,
    tolerance: int,
) -> tuple[np.ndarray, np.ndarray]:
    """Contour pixels that have one of the same class within `tolerance` on the other side."""
    truth_contour, predicted_contour = contours
    shared = np.intersect1d(truth[truth_contour], predicted[predicted_contour])
    shared = shared[shared < classes]
    truth_hit, predicted_hit = np.zeros_like(truth_contour), np.zeros_like(truth_contour)
    for start in range(0, len(shared), 64):
        group = shared[start : start + 64]
        bits = np.min_scalar_type(2 ** len(group) - 1)
        bit = np.zeros(classes + 1, bits)
        bit[group] = np.left_shift(np.ones(len(group), bits), np.arange(len(group), dtype=bits))
        true = np.where(truth_contour, bit[truth], 0)
        guess = np.where(predicted_contour, bit[predicted], 0)
        truth_hit |= true & _window(guess, tolerance, np.bitwise_or, 0) != 0
        predicted_hit |= guess & _window(true, tolerance, np.bitwise_or, 0) != 0
    return truth_hit, predicted_hit


def _window(values: np.ndarray, distance: int, operation: np.ufunc, fill: int) -> np.ndarray:
    """`operation` over the square window of side 2 x distance + 1 about each pixel, `fill` outside."""
    side = 2 * distance + 1
    for _ in range(2):
        values = np.pad(values, ((distance, distance), (0, 0)), constant_values=fill)
        span = 1
        while span < side:
            step = min(span, side - span)
            values = operation(values[:-step], values[step:])
            span += step
        values = values.T
    return values


def pooled(statistics: Statistics, ids: list[int]) -> Iterator[tuple[str, np.ndarray, Contract]]:
    """(metric, value of each class, contract)"""
    options = statistics.heading.options
    bands, f1_sum, f1_count = np.zeros((2, len(ids))), np.zeros(len(ids)), np.zeros(len(ids))
    for batch in statistics.batches("semantic", COLUMNS):
        at = positions(batch.class_ids, ids)
        both, either, true, true_hit, guess, guess_hit = (batch.numbers(c) for c in COLUMNS)
        np.add.at(bands[0], at, both)
        np.add.at(bands[1], at, either)
        defined = true + guess > 0
        precision, recall = ratio(guess_hit, guess), ratio(true_hit, true)
        f1 = np.nan_to_num(ratio(2 * precision * recall, precision + recall))
        np.add.at(f1_sum, at[defined], f1[defined])
        np.add.at(f1_count, at[defined], 1)
    width = f"band of {options.boundary_width:g} diagonals"
    tolerance = f"within {options.contour_tolerance:g} diagonals"
    yield "boundary_iou", ratio(*bands), Contract("dataset", "void", "class skipped", match=width)
    yield (
        "boundary_f1",
        ratio(f1_sum, f1_count),
        Contract("image", "void", "class skipped in that image", match=tolerance),
    )
