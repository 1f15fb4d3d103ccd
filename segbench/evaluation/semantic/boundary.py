"""Metrics of the contours of a class map: boundary IoU and boundary F1.

Boundary IoU (Cheng et al., CVPR 2021): with B(M) the pixels of mask M within a distance of its contour,

    |B(truth) & B(prediction)| / |B(truth) | B(prediction)|

where both counts are summed over all images. The border of the image is a contour, as in the paper.

Boundary F1 (Csurka et al., BMVC 2013), mean over images: F1 = 2 precision x recall / (precision + recall).
Precision is the share of a class's predicted contour pixels with a true contour pixel of that class within
the tolerance; recall is the same with truth and prediction exchanged.

Distances are chessboard distances. A class has no contour towards void.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from segbench.contract.evaluation import EvaluationOptions
from segbench.contract.scores import Contract
from segbench.evaluation.averages import harmonic, ratio
from segbench.evaluation.semantic import bits, edges
from segbench.evaluation.semantic.maps import Regions
from segbench.evaluation.statistics import NONE, Batch, Statistics, positions
from segbench.evaluation.weighted import averaged, summed

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
    truth: np.ndarray, predicted: np.ndarray, regions: Regions, matrix: np.ndarray, settings: Settings
) -> dict[str, np.ndarray]:
    """Count the boundary pixels of one image, K values for each name of `COLUMNS`.

    Args:
        truth, predicted: H x W class indices 0..K-1 as from `confusion.ClassIndex`; K = void or unlabelled.
        regions: runs of pixels of both maps.
        matrix: K x (K + 1) confusion matrix of both maps.
        settings: distances of the boundary metrics.
    """
    diagonal = float(np.hypot(*truth.shape))
    width, tolerance = (max(1, round(s * diagonal)) for s in (settings.width, settings.tolerance))
    classes = len(matrix)
    if matrix.sum() == truth.size:
        (true_band, band), (true_contour, contour) = edges.edges((truth, predicted), width)
    else:
        known = truth != classes
        true_band, true_contour = edges.beside_void(truth, np.flatnonzero(matrix.any(1)), known, width)
        band, contour = edges.beside_void(predicted, np.flatnonzero(matrix.any(0)), known, width)
    both, in_truth, in_guess = bits.counts([true_band & band, true_band, band], regions.starts)
    places = bits.places(true_contour), bits.places(contour)
    on_contour = truth.ravel().take(places[0]), predicted.ravel().take(places[1])
    shared = np.flatnonzero(matrix.any(1) & matrix[:, :-1].any(0))
    hits = edges.hits(on_contour, places, truth.shape, shared, tolerance)
    (true_misses, true_hits), (misses, hit) = (
        np.bincount(at + found * (classes + 1), minlength=2 * classes + 2).reshape(2, -1)[:, :classes]
        for at, found in zip(on_contour, hits)
    )

    def count(labels: np.ndarray, weights: np.ndarray) -> np.ndarray:
        return np.bincount(labels, weights, minlength=classes + 1)[:classes].astype(np.int64)

    return {
        "boundary_intersection": count(regions.true, both * (regions.true == regions.guess)),
        "boundary_truth": count(regions.true, in_truth),
        "boundary_predicted": count(regions.guess, in_guess),
        "contour_truth": true_misses + true_hits,
        "contour_truth_hit": true_hits,
        "contour_predicted": misses + hit,
        "contour_predicted_hit": hit,
    }


def _contours(batch: Batch) -> tuple[np.ndarray, np.ndarray]:
    """Return boundary F1 of each row, and whether its truth or prediction has a contour."""
    true, true_hit, guess, guess_hit = (batch.numbers(c) for c in COLUMNS[3:])
    return harmonic(guess_hit, guess, true_hit, true), true + guess > 0


def bands(batch: Batch, ids: Sequence[int]) -> np.ndarray:
    """Return the pixels of each image and class in both bands and in any of them, images x K x 2."""
    both, *bands_of = (batch.numbers(c) for c in COLUMNS[:3])
    known = batch.class_ids >= 0
    tables = (batch.table(values, ids, known) for values in (both, sum(bands_of) - both))
    return np.nan_to_num(np.stack([*tables], -1))


def contour_scores(batch: Batch, ids: Sequence[int]) -> np.ndarray:
    """Return boundary F1 of each image and class, images x K; NaN without a contour."""
    f1, defined = _contours(batch)
    return batch.table(f1, ids, defined & (batch.class_ids >= 0))


def weighted(statistics: Statistics, weights: np.ndarray) -> dict[str, np.ndarray]:
    """Return boundary IoU and boundary F1 of each class on B resamples, B x K each; see `pooled`.

    Args:
        statistics: the file of a cell.
        weights: B x images, how often each image is in each resample.
    """
    shares = summed(statistics, "semantic", bands, COLUMNS, weights, width=2)
    return {
        "boundary_iou": ratio(*np.moveaxis(shares, -1, 0)),
        "boundary_f1": averaged(statistics, "semantic", contour_scores, COLUMNS, weights),
    }


def pooled(statistics: Statistics, ids: list[int]) -> Iterator[tuple[str, np.ndarray, Contract]]:
    """Yield boundary IoU and boundary F1 as (metric, value of each class in 0..1, contract).

    `ids` are the category ids of the classes. Boundary IoU is NaN for a class without a band in truth and
    prediction. Boundary F1 is the mean over the images in which truth or prediction has a contour of the
    class; it is NaN without such an image.
    """
    options = statistics.metadata.options
    total, f1_sum, f1_count = np.zeros((2, len(ids))), np.zeros(len(ids)), np.zeros(len(ids))
    for batch in statistics.batches("semantic", COLUMNS):
        at = positions(batch.class_ids, [*ids, NONE]) % len(ids)  # the row of no class has only zeros
        both, *bands_of = (batch.numbers(c) for c in COLUMNS[:3])
        np.add.at(total[0], at, both)
        np.add.at(total[1], at, sum(bands_of) - both)
        f1, defined = _contours(batch)
        np.add.at(f1_sum, at[defined], f1[defined])
        np.add.at(f1_count, at[defined], 1)
    width = f"band of {options.boundary_width:g} diagonals"
    tolerance = f"within {options.contour_tolerance:g} diagonals"
    yield "boundary_iou", ratio(*total), Contract("dataset", "void", "class skipped", match=width)
    yield (
        "boundary_f1",
        ratio(f1_sum, f1_count),
        Contract("image", "void", "class skipped in that image", match=tolerance),
    )
