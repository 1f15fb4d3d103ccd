"""How well the outlines of a class map fit: boundary IoU and boundary F1.

Boundary IoU (Cheng et al., CVPR 2021): IoU of the bands inside the contours, all images pooled; the image's
border is a contour, as there. Boundary F1 (Csurka et al., BMVC 2013): share of the contour pixels of a
class that have a contour pixel of that class near them on the other side; harmonic mean of both directions,
averaged over images. Distances are chessboard distances. Contours towards void are none.

All classes are measured at once, by the bits of their labels.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from segbench.contract.evaluation import EvaluationOptions
from segbench.contract.scores import Contract
from segbench.evaluation.averages import ratio
from segbench.evaluation.semantic.maps import look_up, runs
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
    truth: np.ndarray, predicted: np.ndarray, matrix: np.ndarray, settings: Settings
) -> dict[str, np.ndarray]:
    """Counts of each class, by the names of `COLUMNS`.

    truth, predicted: maps of positions, as `confusion.ClassIndex` gives them; matrix: their confusion matrix,
    K x (K + 1).
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
"""70 words of equal weight: no two of them join to one of them."""


def _edges(
    labels: np.ndarray, present: np.ndarray, known: np.ndarray, width: int
) -> tuple[np.ndarray, np.ndarray]:
    """H x W bool: the known pixels within `width` of another class or of the border, and those beside one.

    present: the labels of known pixels. Each has a word, and where a window meets others too, they join to
    another word.
    """
    words: np.ndarray = _WORDS[: len(present)]
    if len(words) < len(present):
        number = np.arange(len(present), dtype=np.uint32)
        words = number | ~number << 16  # with its opposite beside it
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
    """For truth and prediction: which contour pixels have one of their class near them on the other side.

    classes_at, places: classes of the contour pixels, and where they lie in the raveled map. A class is a
    bit, so that 64 classes are looked for at once.
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
    """Bitwise or over the square window of side 2 x distance + 1 about each pixel, at ascending distances.

    On the raveled map, whose rows are padded so that no window meets a neighbouring row: long rows are quick.
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
    """(metric, value of each class, contract)"""
    options = statistics.metadata.options
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
