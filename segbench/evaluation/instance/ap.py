"""COCO's average precision and recall of masks and boxes, equal to pycocotools to the last bit.

Detections of a class are sorted by score over the whole split. At each rank, precision = TP / (TP + FP) and
recall = TP / (number of true objects). AP is the mean over ten IoU thresholds (0.50 to 0.95) and 101 recalls
(0 to 1) of the highest precision at that recall or a higher one (Lin et al., ECCV 2014, and COCOeval). AR is
the recall of all detections, averaged over the thresholds.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
import pyarrow as pa
from hotcoco.metrics import calibration_error
from hotcoco.primitives import bbox_iou, mask_iou

from segbench.contract.scores import Contract, Score, ScoreTable
from segbench.contract.view import Task
from segbench.data.coco.masks import areas
from segbench.evaluation.annotations import Objects
from segbench.evaluation.averages import mean
from segbench.evaluation.instance.matching import AREAS, THRESHOLDS, Group, match, outside
from segbench.evaluation.instance.objects import measure as measure_objects
from segbench.evaluation.instance.objects import pooled as pooled_objects
from segbench.evaluation.statistics import Rows, Statistics, TaskSettings, positions

T = TypeVar("T")
RECALLS = np.linspace(0, 1, 101)
"""The recalls at which AP takes the precision."""


ImageObjects = tuple[int, str, Objects, Objects]
"""Image id, image name, true objects, detections."""


def rows_of(
    task: Task, read: Callable[[T], ImageObjects], settings: TaskSettings, objects: bool, items: Sequence[T]
) -> pa.RecordBatch:
    """Return the statistics of some images, as a batch of a statistics file.

    Args:
        task: "instance" or "detection".
        read: returns truth and detections of one of `items`.
        settings: how the task is scored.
        objects: whether the columns of `segbench.evaluation.instance.objects` are filled too.
        items: the images.
    """
    chunk = _Chunk(task, settings, objects)
    for item in items:
        chunk.add(*read(item))
    return chunk.batch()


class _Chunk:
    """Statistics of some images, whose objects are matched together."""

    def __init__(self, task: Task, settings: TaskSettings, objects: bool) -> None:
        self._settings, self._objects = settings, objects
        self._rows = Rows(task)
        self._groups: dict[str, list[Group]] = {kind: [] for kind in settings.kinds}
        self._areas, self._lengths = [np.zeros(0)], [np.zeros(0, int)]
        self._start = 0

    def add(self, image_id: int, name: str, truth: Objects, detected: Objects) -> None:
        detected = _ranked(detected, self._settings.max_detections[-1])
        truth = truth.take(np.argsort(truth.class_ids, kind="stable"))
        classes = np.union1d(truth.class_ids, detected.class_ids)
        edges = [np.searchsorted(f.class_ids, np.append(classes, np.inf)) for f in (detected, truth)]
        number = np.diff(edges[0])
        both = [
            (k, slice(*edges[0][k : k + 2]), slice(*edges[1][k : k + 2]))
            for k in np.flatnonzero(number * np.diff(edges[1])).tolist()
        ]
        for kind in self._settings.kinds:
            for _, d, g in both:
                iou = _iou(kind, detected, truth, d, g)
                self._groups[kind].append(Group(self._start + d.start, iou, truth.areas[g], truth.crowd[g]))
        counted = ~outside(truth.areas) & ~truth.crowd[:, None]
        columns: dict[str, Any] = {
            "scores": (detected.scores, number),
            "truths": (_sums(counted, edges[1]).ravel(), [len(AREAS)] * len(classes)),
        }
        if self._objects:
            columns |= self._object_columns(truth, detected, edges, both)
        self._rows.extend(image_id, name, classes, **columns)
        self._areas.append(detected.areas)
        self._lengths.append(number * len(AREAS))
        self._start += len(detected.scores)

    def _object_columns(
        self, truth: Objects, detected: Objects, edges: list[np.ndarray], both: list[tuple[int, slice, slice]]
    ) -> dict[str, Any]:
        sure, real = detected.scores >= self._settings.min_score, ~truth.crowd
        pixels, true_pixels = areas(detected.masks), areas(truth.masks)
        found: dict[str, Any] = {
            "object_truths": _sums(real, edges[1]),
            "object_predictions": _sums(sure, edges[0]),
            "aji_intersection": np.zeros(len(edges[0]) - 1, int),
            "aji_union": _sums(sure * pixels, edges[0]) + _sums(real * true_pixels, edges[1]),
        }
        ious = [np.zeros(0)] * (len(edges[0]) - 1)
        partners = [np.zeros(number) for number in found["object_truths"].tolist()]
        groups = self._groups["mask"][len(self._groups["mask"]) - len(both) :]
        for (k, d, g), group in zip(both, groups):
            keep = sure[d]
            measured = measure_objects(group.iou[keep], pixels[d][keep], true_pixels[g], group.crowd)
            ious[k], partners[k] = measured.pop("object_ious"), measured.pop("object_partners")
            for name, value in measured.items():
                found[name][k] = value
        return found | {
            "object_ious": (np.concatenate([np.zeros(0), *ious]), [len(i) for i in ious]),
            "object_areas": (truth.areas[real], found["object_truths"]),
            "object_partners": (np.concatenate([np.zeros(0), *partners]), found["object_truths"]),
        }

    def batch(self) -> pa.RecordBatch:
        areas = np.concatenate(self._areas)
        for kind, groups in self._groups.items():
            for name, flags in zip(("matched", "ignored"), match(groups, areas)):
                self._rows.columns[f"{kind}_{name}"] = [flags.ravel()]
                self._rows.lengths[f"{kind}_{name}"] = self._lengths
        return self._rows.batch()


def _sums(values: np.ndarray, edges: np.ndarray) -> np.ndarray:
    """Return the sums of `values` between consecutive `edges` of the first axis."""
    total = np.zeros((len(values) + 1, *values.shape[1:]), np.int64)
    np.cumsum(values, axis=0, out=total[1:])
    return total[edges[1:]] - total[edges[:-1]]


def _ranked(found: Objects, max_detections: int) -> Objects:
    """Sort detections by class, then by descending score (stable); keep `max_detections` of each class."""
    order = np.lexsort((-found.scores, found.class_ids))
    classes = found.class_ids[order]
    rank = np.arange(len(order)) - np.searchsorted(classes, classes)
    return found.take(order[rank < max_detections])


def _iou(kind: str, detected: Objects, truth: Objects, d: slice, g: slice) -> np.ndarray:
    """Return the D x G IoUs; for crowds the intersection divided by the detection's area."""
    crowd = truth.crowd[g]
    shape = len(detected.class_ids[d]), len(crowd)
    if not all(shape):
        return np.zeros(shape)
    if kind == "mask":
        return mask_iou(detected.masks[d], truth.masks[g], crowd)
    return bbox_iou(detected.boxes[d], truth.boxes[g], crowd)


@dataclass
class Detections:
    """All N detections of one class over the split, by descending score."""

    images: np.ndarray
    """N positions in the file's `image_ids`."""
    scores: np.ndarray
    """N floats."""
    ranks: np.ndarray
    """N ints; 0 = highest score of its class in its image."""
    matched: np.ndarray
    """N x 4 bit masks over `THRESHOLDS`, one column for each area range of `AREAS`."""
    ignored: np.ndarray
    """Detections that count neither as true nor as false positives, in the same form as `matched`."""
    true_images: np.ndarray
    """M positions in `image_ids`: the images with truth or detections of the class."""
    truths: np.ndarray
    """M x 4: number of true objects that count in each of `true_images`, for each area range."""

    def hits(self, area: int) -> tuple[np.ndarray, np.ndarray]:
        """Return (true positives, false positives), both T x N bool, for the area range with this index."""
        return hits(self.matched[:, area], self.ignored[:, area])


def hits(matched: np.ndarray, ignored: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return (true positives, false positives), both T x N bool, from N bit masks over `THRESHOLDS`."""
    bits = np.arange(len(THRESHOLDS), dtype=np.uint16)[:, None]
    hit, passed = (((flags >> bits) & 1).astype(bool) for flags in (matched, ignored))
    return hit & ~passed, ~hit & ~passed


def detections(statistics: Statistics, task: Task, kind: str) -> list[Detections]:
    """Return the detections of each class.

    Args:
        statistics: the file.
        task: "instance" or "detection".
        kind: the shapes that were compared, "mask" or "box".
    """
    columns = ("scores", f"{kind}_matched", f"{kind}_ignored", "truths")
    flags = np.zeros((0, len(AREAS)), np.uint16)
    found, true = [(*(np.zeros(0, int),) * 4, flags, flags)], [(np.zeros(0, int), np.zeros(0, int), flags)]
    for batch in statistics.batches(task, columns):
        scores, lengths = batch.lists("scores")
        row = np.repeat(np.arange(len(batch)), lengths)
        rank = np.arange(len(scores)) - np.repeat(np.cumsum(lengths) - lengths, lengths)
        image = positions(batch.image_ids, statistics.metadata.image_ids)[batch.image]
        matched, ignored, truths = (batch.lists(c)[0].reshape(-1, len(AREAS)) for c in columns[1:])
        found.append((batch.class_ids[row], image[row], scores, rank, matched, ignored))
        true.append((batch.class_ids, image, truths))
    classes, *values = (np.concatenate(column) for column in zip(*found))
    true_classes, true_images, truths = (np.concatenate(column) for column in zip(*true))
    order = np.lexsort((-values[1], classes))
    result = []
    for c in statistics.metadata.tasks[task].classes:
        at = order[slice(*np.searchsorted(classes[order], [c.id, c.id + 1]))]
        own = true_classes == c.id
        mine = [v[at] for v in values] + [true_images[own], truths[own]]
        result.append(Detections(*mine))
    return result


def precision(found: Detections, area: int) -> np.ndarray:
    """Return the interpolated precision at the 101 recalls of `RECALLS`, T x 101 in 0..1.

    It is -1 everywhere if the class has no true object in the area range `area` (an index), as in COCOeval.
    """
    truths = found.truths[:, area].sum()
    if not truths:
        return np.full((len(THRESHOLDS), len(RECALLS)), -1.0)
    true, false = (np.cumsum(h, axis=1).astype(float) for h in found.hits(area))
    curve = true / (false + true + np.spacing(1))
    curve = np.maximum.accumulate(curve[:, ::-1], axis=1)[:, ::-1]
    result = np.zeros((len(THRESHOLDS), len(RECALLS)))
    for t, recall in enumerate(true / truths):
        at = np.searchsorted(recall, RECALLS, side="left")
        reached = at < len(recall)
        result[t, reached] = curve[t, at[reached]]
    return result


def recall(found: Detections, area: int, max_detections: int) -> np.ndarray:
    """Return the recall of the best `max_detections` of each image, T values in 0..1.

    It is -1 everywhere if the class has no true object in the area range `area` (an index), as in COCOeval.
    """
    truths = found.truths[:, area].sum()
    true = found.hits(area)[0][:, found.ranks < max_detections].sum(1)
    return true / truths if truths else np.full(len(THRESHOLDS), -1.0)


def _defined_mean(values: np.ndarray) -> float:
    """Return the mean of the values that are not -1, as COCOeval does; NaN where all are."""
    values = values[values > -1]
    return float(values.mean()) if values.size else float("nan")


def pooled(statistics: Statistics, task: Task) -> list[Score]:
    """Return every score of a statistics file for the task "instance" or "detection"."""
    settings, options = statistics.metadata.tasks[task], statistics.metadata.options
    last = settings.max_detections[-1]
    scores = ScoreTable(task, [c.name for c in settings.classes], bool(settings.conversion))

    def contract(rule: str, limit: int = last) -> Contract:
        return Contract("dataset", "crowd", "class skipped", match=rule, max_detections=limit)

    for kind in settings.kinds:
        found = detections(statistics, task, kind)
        prefix = "" if kind == "mask" else f"{kind}_"
        for metric, values, rule, limit in _coco_figures(found, settings.max_detections):
            classes = [_defined_mean(v) for v in np.moveaxis(values, -1, 0)]
            scores.add(prefix + metric, _defined_mean(values), classes, contract(rule, limit))
        if "calibration" in options.families and not settings.conversion:
            groups = [found, *([f] for f in found)]
            if all(((f.scores >= 0) & (f.scores <= 1)).all() for f in found):
                error, *errors = (_calibration(group, options.calibration_bins) for group in groups)
            else:  # the scores are not probabilities
                error, *errors = [float("nan")] * len(groups)
            scores.add(prefix + "ece", error, errors, contract("IoU >= 0.5"))
    if "objects" in options.families and "mask" in settings.kinds:
        for metric, values, made in pooled_objects(statistics, [c.id for c in settings.classes]):
            scores.add(metric, mean(values), values, made)
    return scores.rows


def _coco_figures(
    found: list[Detections], limits: tuple[int, ...]
) -> Iterator[tuple[str, np.ndarray, str, int]]:
    """Yield COCO's twelve metrics as (metric, values, match rule, maxDets).

    The last axis of the values is the class, as in pycocotools: the order of a sum decides its last bit.
    """
    sweep = "IoU >= 0.50:0.05:0.95"
    last = limits[-1]
    for area, name in enumerate(AREAS):
        curves = np.stack([precision(f, area) for f in found], -1)
        if name == "all":
            yield "ap", curves, sweep, last
            yield "ap50", curves[:1], "IoU >= 0.50", last
            yield "ap75", curves[5:6], "IoU >= 0.75", last
            for limit in limits:
                yield f"ar{limit}", np.stack([recall(f, area, limit) for f in found], -1), sweep, limit
        else:
            yield f"ap_{name}", curves, sweep, last
            yield f"ar_{name}", np.stack([recall(f, area, last) for f in found], -1), sweep, last


def _calibration(found: list[Detections], bins: int) -> float:
    """Return the expected calibration error of the scores at IoU 0.5, in 0..1; NaN without detections.

    ECE = sum over the bins of (detections in the bin / all detections) x |precision - mean score|
    (Guo et al., ICML 2017, equation 3). Bins have equal width. Ignored detections do not count.
    """
    scores = np.concatenate([f.scores for f in found])
    true, false = (np.concatenate(h) for h in zip(*([side[0] for side in f.hits(0)] for f in found)))
    counted = true | false
    if not counted.any():
        return float("nan")
    return calibration_error(scores[counted].tolist(), true[counted].tolist(), n_bins=bins)[0]
