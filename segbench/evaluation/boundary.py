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
    "boundary_truth",
    "boundary_predicted",
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
    """Counts of each class, by the names of `COLUMNS`.

    truth, predicted: maps of positions as `segbench.evaluation.semantic.ClassIndex` gives them.
    """
    diagonal = float(np.hypot(*truth.shape))
    width, tolerance = (max(1, round(s * diagonal)) for s in (settings.width, settings.tolerance))
    known = truth != classes
    top = np.iinfo(truth.dtype).max  # 0 and `top` are never the largest and the smallest
    bands: list[np.ndarray] = []
    near: list[np.ndarray] = []
    for labels in (truth, predicted):
        high = (labels + 1) * known
        low = np.where(known, high, truth.dtype.type(top))
        for distance, border, found in ((width, classes + 2, bands), (1, 0, near)):
            smallest = _window(low, distance, np.minimum, top)
            found.append((_window(high, distance, np.maximum, border) != smallest) & known)
    contours = [np.flatnonzero(c) for c in near]
    on_truth, on_predicted = truth.ravel()[contours[0]], predicted.ravel()[contours[1]]
    truth_hit, predicted_hit = _hits(on_truth, on_predicted, contours, truth.shape, classes, tolerance)
    counted = {
        "boundary_intersection": truth[bands[0] & bands[1] & (truth == predicted)],
        "boundary_truth": truth[bands[0]],
        "boundary_predicted": predicted[bands[1]],
        "contour_truth": on_truth,
        "contour_truth_hit": on_truth[truth_hit],
        "contour_predicted": on_predicted,
        "contour_predicted_hit": on_predicted[predicted_hit],
    }
    return {name: np.bincount(found, minlength=classes + 1)[:classes] for name, found in counted.items()}


def _hits(
    on_truth: np.ndarray,
    on_predicted: np.ndarray,
    contours: list[np.ndarray],
    shape: tuple[int, int],
    classes: int,
    tolerance: int,
) -> tuple[np.ndarray, np.ndarray]:
    """Which contour pixels have one of the same class within `tolerance` on the other side.

    on_truth, on_predicted: classes of the contour pixels; contours: their places in the raveled maps. A class
    is a bit, so that 64 classes are looked for at once.
    """
    truth_hit, predicted_hit = np.zeros(len(on_truth), bool), np.zeros(len(on_predicted), bool)
    shared = np.intersect1d(on_truth, on_predicted)
    shared = shared[shared < classes]
    for start in range(0, len(shared), 64):
        group = shared[start : start + 64]
        bits = np.min_scalar_type(2 ** len(group) - 1)
        bit = np.zeros(classes + 1, bits)
        bit[group] = np.left_shift(np.ones(len(group), bits), np.arange(len(group), dtype=bits))
        true, guess = np.zeros((2, *shape), bits)
        true.flat[contours[0]], guess.flat[contours[1]] = bit[on_truth], bit[on_predicted]
        near_true, near_guess = (_window(m, tolerance, np.bitwise_or, 0).ravel() for m in (true, guess))
        truth_hit |= (bit[on_truth] & near_guess[contours[0]]) != 0
        predicted_hit |= (bit[on_predicted] & near_true[contours[1]]) != 0
    return truth_hit, predicted_hit


def _window(values: np.ndarray, distance: int, operation: np.ufunc, fill: int) -> np.ndarray:
    """`operation` over the square window of side 2 x distance + 1 about each pixel, `fill` outside."""
    side = 2 * distance + 1
    padded = np.full([n + 2 * distance for n in values.shape], fill, values.dtype)
    padded[distance:-distance, distance:-distance] = values
    span = 1
    while span < side:
        step = min(span, side - span)
        padded = operation(padded[:-step], padded[step:])
        padded = operation(padded[:, :-step], padded[:, step:])
        span += step
    return padded


def pooled(statistics: Statistics, ids: list[int]) -> Iterator[tuple[str, np.ndarray, Contract]]:
    """(metric, value of each class, contract)"""
    options = statistics.heading.options
    bands, f1_sum, f1_count = np.zeros((2, len(ids))), np.zeros(len(ids)), np.zeros(len(ids))
    for batch in statistics.batches("semantic", COLUMNS):
        at = positions(batch.class_ids, ids)
        both, *bands_of, true, true_hit, guess, guess_hit = (batch.numbers(c) for c in COLUMNS)
        np.add.at(bands[0], at, both)
        np.add.at(bands[1], at, sum(bands_of) - both)
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
