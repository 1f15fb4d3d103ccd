"""Scores of whole volumes (cases), whose slices are the images of a split.

The slices of a case are stacked by their index, for truth and prediction. One case is in memory at a time.
A voxel with void truth belongs to no class, in truth and prediction.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from segbench.contract.scores import Contract, Score, ScoreTable
from segbench.contract.view import BACKGROUND, Category
from segbench.data.cases import read_slices
from segbench.data.dataset import ImageRecord, Split
from segbench.evaluation.averages import mean, ratio
from segbench.evaluation.semantic.surfaces import diagonal, distances, hd95, surface, surface_dice
from segbench.evaluation.statistics import Statistics, positions
from segbench.files import read_json

log = logging.getLogger(__name__)
Read = Callable[[ImageRecord], tuple[np.ndarray, np.ndarray]]
"""Returns the class indices of truth and prediction of an image, H x W each; K = void or unlabelled."""
Values = dict[str, float]
"""Value by metric; NaN where it is undefined."""
_UNDEFINED: Values = {"case_dice": math.nan, "case_hd95": math.nan, "case_nsd": math.nan}


@dataclass
class Volume:
    """A case, and its images in a split."""

    case: str
    slices: int
    """Number of its slices."""
    spacing: tuple[float, float, float]
    """Distance between slices, rows and columns in mm."""
    records: dict[int, ImageRecord] = field(default_factory=dict)
    """Images by the index of the slice."""


@dataclass
class CaseScores:
    """The scores of one case."""

    case: str
    classes: dict[str, Values]
    """By class. The background has no scores."""


def volumes(split: Split) -> list[Volume]:
    """Return the cases of a split; empty if its images are not slices."""
    places = read_slices(split.root)
    found: dict[str, Volume] = {}
    for record in split:
        if place := places.get(record.stem):
            volume = found.setdefault(place.case, Volume(place.case, place.slices, place.spacing))
            volume.records[place.index] = record
    return list(found.values())


def score_cases(
    cases: Iterable[Volume], read: Read, classes: Sequence[Category], tolerance: float
) -> list[CaseScores]:
    """Score some cases. The scores of a case that lacks slices are undefined.

    Args:
        cases: as from `volumes`.
        read: reads truth and prediction of an image.
        classes: the K classes.
        tolerance: of the surface Dice, in mm.
    """
    scored = {k: c.name for k, c in enumerate(classes) if c.name != BACKGROUND.name}
    found = []
    for volume in cases:
        if lacking := volume.slices - len(volume.records):
            log.warning("case %s lacks %d slices in this split, so it has no scores", volume.case, lacking)
            found.append(CaseScores(volume.case, dict.fromkeys(scored.values(), _UNDEFINED)))
            continue
        truth, guess = _stacked(volume, read, void=len(classes))
        values = {
            name: measure(truth == k, guess == k, volume.spacing, tolerance) for k, name in scored.items()
        }
        found.append(CaseScores(volume.case, values))
    return found


def _stacked(volume: Volume, read: Read, void: int) -> tuple[np.ndarray, np.ndarray]:
    """Return truth and prediction of a case, D x H x W class indices."""
    both: list[np.ndarray] = []
    for index, record in volume.records.items():
        true, guess = read(record)
        if not both:
            both = [np.empty((volume.slices, *true.shape), true.dtype) for _ in range(2)]
        both[0][index] = true
        both[1][index] = np.where(true == void, void, guess)
    return both[0], both[1]


def measure(truth: np.ndarray, guess: np.ndarray, spacing: Sequence[float], tolerance: float) -> Values:
    """Return Dice, HD95 (mm) and surface Dice of one class of a volume.

    If both masks are empty, all are undefined. If one is, Dice and surface Dice are 0, and HD95 is the
    diagonal of the volume, the largest distance in it.

    Args:
        truth, guess: D x H x W bool.
        spacing: distance between slices, rows and columns in mm.
        tolerance: of the surface Dice, in mm.
    """
    sizes = int(np.count_nonzero(truth)), int(np.count_nonzero(guess))
    if not any(sizes):
        return _UNDEFINED
    if not all(sizes):
        return {"case_dice": 0.0, "case_hd95": diagonal(truth.shape, spacing), "case_nsd": 0.0}
    box = _bounds(truth | guess)
    truth, guess = truth[box], guess[box]
    there, back = distances(surface(truth, spacing), surface(guess, spacing))
    return {
        "case_dice": 2 * int(np.count_nonzero(truth & guess)) / sum(sizes),
        "case_hd95": hd95(there, back),
        "case_nsd": surface_dice(there, back, tolerance),
    }


def _bounds(mask: np.ndarray) -> tuple[slice, ...]:
    """Return the smallest box that holds a mask. Outside of it there is no surface."""
    found = []
    for axis in range(mask.ndim):
        others = tuple(a for a in range(mask.ndim) if a != axis)
        used = np.flatnonzero(mask.any(others))
        found.append(slice(used[0], used[-1] + 1))
    return tuple(found)


def case_means(
    cases: Sequence[CaseScores], classes: Sequence[Category], *, derived: bool, tolerance: float
) -> list[Score]:
    """Return the mean of each metric over the cases where it is defined, by class, and its mean over classes.

    Args:
        cases: scores of all cases of a split.
        classes: the classes of the semantic view.
        derived: whether the class maps were converted.
        tolerance: of the surface Dice, in mm.
    """
    names = [c.name for c in classes if c.name != BACKGROUND.name]
    table = ScoreTable("semantic", names, derived)
    matches = {
        "case_dice": "",
        "case_hd95": "distance in mm; the diagonal if only one is empty",
        "case_nsd": f"surfaces within {tolerance:g} mm",
    }
    for metric, match in matches.items():
        values = np.array([[one.classes[name][metric] for name in names] for one in cases])
        by_class = mean(values, 0)
        contract = Contract("case", ignored="void", absent="class skipped in that case", match=match)
        table.add(metric, mean(by_class), by_class, contract)
    return table.rows


IN_UNIT_RANGE = ("case_dice", "case_nsd")
"""Scores in 0..1. HD95 is a distance, for which intervals of shares would be wrong."""


def weighted(statistics: Statistics, weights: np.ndarray) -> dict[str, np.ndarray]:
    """Return the scores of `IN_UNIT_RANGE` on B resamples, as B floats by metric.

    There are none if no cases were scored, or if the slices of a case are not drawn together.

    Args:
        statistics: the file of a cell; scores.json beside it has the scores of each case.
        weights: B x images, how often each image is in each resample.
    """
    path = statistics.path.with_name("scores.json")
    found = read_json(path) if path.exists() else {}
    ids = statistics.metadata.image_ids
    if not found.get("cases") or found["images"] != len(ids):  # or it is that of one of several folds
        return {}
    slices = [positions(np.array(found["case_images"][case]), ids) for case in found["cases"]]
    if any((weights[:, one] != weights[:, one[:1]]).any() for one in slices):
        return {}
    own = weights[:, [one[0] for one in slices]].astype(float)
    result = {}
    for metric in IN_UNIT_RANGE:
        rows = [[of[metric] for of in classes.values()] for classes in found["cases"].values()]
        values = np.array(rows, float)  # None becomes NaN
        sums = own @ np.nan_to_num(values), own @ (~np.isnan(values)).astype(float)
        result[metric] = mean(ratio(*sums))
    return result


def by_case(cases: Sequence[CaseScores]) -> dict[str, Any]:
    """Return the scores as {case: {class: {metric: value}}}; None where they are undefined."""
    return {
        one.case: {
            name: {metric: None if math.isnan(value) else value for metric, value in values.items()}
            for name, values in one.classes.items()
        }
        for one in cases
    }
