"""Metrics of the contours of a class map: boundary IoU and boundary F1.

Boundary IoU (Cheng et al., CVPR 2021): with B(M) the pixels of mask M within a distance of its contour,

    |B(truth) & B(prediction)| / |B(truth) | B(prediction)|

where both counts are summed over all images. The border of the image is a contour, as in the paper.

Boundary F1 (Csurka et al., BMVC 2013), mean over images: F1 = 2 precision x recall / (precision + recall).
Precision is the share of a class's predicted contour pixels with a true contour pixel of that class within
the tolerance; recall is the same with truth and prediction exchanged.

Distances are chessboard distances. A class has no contour towards void. All classes are measured at once: a
class is a bit, or a pattern of bits, in the maps.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from segbench.contract.evaluation import EvaluationOptions
from segbench.contract.scores import Contract
from segbench.evaluation.averages import ratio
from segbench.evaluation.semantic.maps import look_up, runs
from segbench.evaluation.statistics import NONE, Statistics, positions

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
    """Distances of the boundary metrics."""

    width: float
    """Width of the band of boundary IoU, as a fraction of the image's diagonal."""
    tolerance: float
    """Distance at which contour pixels match for boundary F1, as a fraction of the image's diagonal."""


def settings(options: EvaluationOptions) -> Settings | None:
    """Return the distances; None if boundaries are not scored."""
    if "boundary" not in options.families:
        return None
    return Settings(options.boundary_width, options.contour_tolerance)


def measure(
    truth: np.ndarray, predicted: np.ndarray, matrix: np.ndarray, settings: Settings
) -> dict[str, np.ndarray]:
    """Count the boundary pixels of one image, K values for each name of `COLUMNS`.

    Args:
        truth, predicted: H x W class indices 0..K-1 as from `confusion.ClassIndex`; K = void or unlabelled.
        matrix: K x (K + 1) confusion matrix of the two maps.
        settings: distances of the boundary metrics.
    """
    diagonal = float(np.hypot(*truth.shape))
    width, tolerance = (max(1, round(s * diagonal)) for s in (settings.width, settings.tolerance))
    classes = len(matrix)
    known = truth != classes
    true_band, true_contour = _edges(truth, np.flatnonzero(matrix.any(1)), known, width)
    band, contour = _edges(predicted, np.flatnonzero(matrix.any(0)), known, width)
    starts, pixels = runs(truth, predicted, true_band, band)
    true, guess, in_true, in_guess = (m.ravel()[starts] for m in (truth, predicted, true_band, band))
    places = np.flatnonzero(true_contour), np.flatnonzero(contour)
    on_truth, on_predicted = truth.ravel()[places[0]], predicted.ravel()[places[1]]
    truth_hit, predicted_hit = _hits((on_truth, on_predicted), places, truth.shape, classes, tolerance)
    counted = {
        "boundary_intersection": (true, pixels * (in_true & in_guess & (true == guess))),
        "boundary_truth": (true, pixels * in_true),
        "boundary_predicted": (guess, pixels * in_guess),
        "contour_truth": (on_truth, None),
        "contour_truth_hit": (on_truth, truth_hit),
        "contour_predicted": (on_predicted, None),
        "contour_predicted_hit": (on_predicted, predicted_hit),
    }
    return {
        name: np.bincount(found, weights, minlength=classes + 1)[:classes].astype(np.int64)
        for name, (found, weights) in counted.items()
    }


_WORDS = np.array([word for word in range(256) if word.bit_count() == 4], np.uint8)
"""The 70 bytes with four bits set. The bitwise or of two of them has more bits."""


def _edges(
    labels: np.ndarray, present: np.ndarray, known: np.ndarray, width: int
) -> tuple[np.ndarray, np.ndarray]:
    """Return (band, contour), both H x W bool.

    The band holds the known pixels within `width` of another class or of the image's border, the contour the
    known pixels next to another class.

    Each label in `present` is replaced by a bit pattern. The bitwise or over a window equals the pixel's own
    pattern only if the window holds no other label. `known` is H x W bool, False on void.
    """
    words: np.ndarray = _WORDS[: len(present)]
    if len(words) < len(present):
        number = np.arange(len(present), dtype=np.uint32)
        words = number | ~number << 16  # the number and its complement
    table = np.zeros(np.iinfo(labels.dtype).max + 1, words.dtype)
    table[present] = words
    own = look_up(table, labels) * known
    contour, band = (met != own for met in _windows(own, 1, width))
    band[:width] = band[-width:] = band[:, :width] = band[:, -width:] = True
    return band & known, contour & known


def _hits(
    classes_at: tuple[np.ndarray, np.ndarray],
    places: tuple[np.ndarray, np.ndarray],
    shape: tuple[int, ...],
    classes: int,
    tolerance: int,
) -> list[np.ndarray]:
    """Return which contour pixels of each map have one of their class near them in the other map.

    64 classes are compared at once, one bit each.

    Args:
        classes_at: (truth, prediction) classes of the contour pixels.
        places: (truth, prediction) positions of the contour pixels in the raveled map.
        shape: height and width.
        classes: number of classes.
        tolerance: distance in pixels at which contour pixels match.
    """
    hits = [np.zeros(len(at), bool) for at in places]
    numbers = (np.bincount(c, minlength=classes + 1)[:classes] for c in classes_at)
    shared = np.flatnonzero(np.logical_and(*numbers))
    for start in range(0, len(shared), 64):
        group = shared[start : start + 64]
        kind = np.min_scalar_type(2 ** len(group) - 1)
        bit = np.zeros(classes + 1, kind)
        bit[group] = np.left_shift(np.ones(len(group), kind), np.arange(len(group), dtype=kind))
        bits = [bit[c] for c in classes_at]
        for side, other in ((0, 1), (1, 0)):
            contour = np.zeros(shape, kind)
            contour.ravel()[places[other]] = bits[other]
            (near,) = _windows(contour, tolerance)
            hits[side] |= (near.ravel()[places[side]] & bits[side]) != 0
    return hits


def _windows(values: np.ndarray, *distances: int) -> Iterator[np.ndarray]:
    """Yield the bitwise or over the square of 2 x distance + 1 pixels around each pixel, H x W.

    Distances ascend. The map is raveled, and padded so that no window reaches into the next row: numpy is
    faster on long arrays.
    """
    (height, width), far = values.shape, distances[-1]
    stride = width + 2 * far
    padded = np.zeros((height + 2 * far + 1, stride), values.dtype)
    padded[far : far + height, far : far + width] = values
    met, span = padded.ravel(), 1  # an entry holds the window that begins there
    for distance in distances:
        while span < 2 * distance + 1:
            step = min(span, 2 * distance + 1 - span)
            met = met[:-step] | met[step:]
            met = met[: -step * stride] | met[step * stride :]
            span += step
        start = (far - distance) * (stride + 1)
        yield met[start : start + height * stride].reshape(height, stride)[:, :width]


def pooled(statistics: Statistics, ids: list[int]) -> Iterator[tuple[str, np.ndarray, Contract]]:
    """Yield boundary IoU and boundary F1 as (metric, value of each class in 0..1, contract).

    `ids` are the category ids of the classes. Boundary IoU is NaN for a class without a band in truth and
    prediction. Boundary F1 is the mean over the images in which truth or prediction has a contour of the
    class; it is NaN without such an image.
    """
    options = statistics.metadata.options
    bands, f1_sum, f1_count = np.zeros((2, len(ids))), np.zeros(len(ids)), np.zeros(len(ids))
    for batch in statistics.batches("semantic", COLUMNS):
        at = positions(batch.class_ids, [*ids, NONE]) % len(ids)  # the row of no class has only zeros
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
