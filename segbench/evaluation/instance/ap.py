"""Average precision of objects, masks and boxes: COCO's protocol, equal to pycocotools to the last bit."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
import pyarrow as pa
from hotcoco.metrics import calibration_error
from hotcoco.primitives import bbox_iou, mask_iou

from segbench.contract.scores import Contract, Score, Sheet
from segbench.data.coco.masks import areas
from segbench.evaluation.averages import mean
from segbench.evaluation.instance.matching import AREAS, THRESHOLDS, Group, match, outside
from segbench.evaluation.instance.objects import measure as measure_objects
from segbench.evaluation.instance.objects import pooled as pooled_objects
from segbench.evaluation.statistics import Rows, Scored, Statistics, positions

T = TypeVar("T")
RECALLS = np.linspace(0, 1, 101)


@dataclass
class Found:
    """Objects of one image, true or detected."""

    class_ids: np.ndarray
    """N"""
    masks: list[dict[str, Any]]
    """N COCO RLEs; none where only boxes are scored"""
    boxes: np.ndarray
    """N x 4: x, y, width, height"""
    areas: np.ndarray
    """N: what decides the area range, which need not be the mask's"""
    scores: np.ndarray
    """N; of truth: ones"""
    crowd: np.ndarray
    """N bool; no detection is a crowd"""

    def take(self, at: np.ndarray) -> Found:
        masks = [self.masks[i] for i in at] if self.masks else []
        arrays = (self.boxes, self.areas, self.scores, self.crowd)
        return Found(self.class_ids[at], masks, *(a[at] for a in arrays))


Image = tuple[int, str, Found, Found]
"""Id, name, truth, detections."""


def rows_of(read: Callable[[T], Image], scored: Scored, objects: bool, items: Sequence[T]) -> pa.RecordBatch:
    """The statistics of the images that `read` makes of `items`; `objects`: those of that module too."""
    chunk = _Chunk(scored, objects)
    for item in items:
        chunk.add(*read(item))
    return chunk.batch()


class _Chunk:
    """Statistics of some images, whose matches are found in one go."""

    def __init__(self, scored: Scored, objects: bool) -> None:
        self._scored, self._objects = scored, objects
        self._rows = Rows("instance")
        self._groups: dict[str, list[Group]] = {kind: [] for kind in scored.kinds}
        self._areas, self._lengths = [np.zeros(0)], [np.zeros(0, int)]
        self._start = 0

    def add(self, image_id: int, name: str, truth: Found, detected: Found) -> None:
        detected = _ranked(detected, self._scored.max_detections[-1])
        truth = truth.take(np.argsort(truth.class_ids, kind="stable"))
        classes = np.union1d(truth.class_ids, detected.class_ids)
        edges = [np.searchsorted(f.class_ids, np.append(classes, np.inf)) for f in (detected, truth)]
        number = np.diff(edges[0])
        both = [
            (k, slice(*edges[0][k : k + 2]), slice(*edges[1][k : k + 2]))
            for k in np.flatnonzero(number * np.diff(edges[1])).tolist()
        ]
        for kind in self._scored.kinds:
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
        self, truth: Found, detected: Found, edges: list[np.ndarray], both: list[tuple[int, slice, slice]]
    ) -> dict[str, Any]:
        sure, real = detected.scores >= self._scored.min_score, ~truth.crowd
        pixels, true_pixels = areas(detected.masks), areas(truth.masks)
        found: dict[str, Any] = {
            "object_truths": _sums(real, edges[1]),
            "object_predictions": _sums(sure, edges[0]),
            "aji_intersection": np.zeros(len(edges[0]) - 1, int),
            "aji_union": _sums(sure * pixels, edges[0]) + _sums(real * true_pixels, edges[1]),
        }
        ious = [np.zeros(0)] * (len(edges[0]) - 1)
        groups = self._groups["mask"][len(self._groups["mask"]) - len(both) :]
        for (k, d, g), group in zip(both, groups):
            keep = sure[d]
            measured = measure_objects(group.iou[keep], pixels[d][keep], true_pixels[g], group.crowd)
            ious[k] = measured.pop("object_ious")
            for name, value in measured.items():
                found[name][k] = value
        return found | {"object_ious": (np.concatenate([np.zeros(0), *ious]), [len(i) for i in ious])}

    def batch(self) -> pa.RecordBatch:
        areas = np.concatenate(self._areas)
        for kind, groups in self._groups.items():
            for name, flags in zip(("matched", "ignored"), match(groups, areas)):
                self._rows.columns[f"{kind}_{name}"] = [flags.ravel()]
                self._rows.lengths[f"{kind}_{name}"] = self._lengths
        return self._rows.batch()


def _sums(values: np.ndarray, edges: np.ndarray) -> np.ndarray:
    """Sums of `values` between neighbouring `edges`, over the first axis."""
    total = np.zeros((len(values) + 1, *values.shape[1:]), np.int64)
    np.cumsum(values, axis=0, out=total[1:])
    return total[edges[1:]] - total[edges[:-1]]


def _ranked(found: Found, max_detections: int) -> Found:
    """Detections by class, best first, at most `max_detections` of a class; equal scores stay in order."""
    order = np.lexsort((-found.scores, found.class_ids))
    classes = found.class_ids[order]
    rank = np.arange(len(order)) - np.searchsorted(classes, classes)
    return found.take(order[rank < max_detections])


def _iou(kind: str, detected: Found, truth: Found, d: slice, g: slice) -> np.ndarray:
    """D x G; of crowds: intersection over detection."""
    crowd = truth.crowd[g]
    shape = len(detected.class_ids[d]), len(crowd)
    if not all(shape):
        return np.zeros(shape)
    if kind == "mask":
        return mask_iou(detected.masks[d], truth.masks[g], crowd)
    return bbox_iou(detected.boxes[d], truth.boxes[g], crowd)


@dataclass
class Detections:
    """All detections of one class over the split, best first."""

    images: np.ndarray
    """N: position in the file's `image_ids`"""
    scores: np.ndarray
    ranks: np.ndarray
    """N: 0 = best of its class in its image"""
    matched: np.ndarray
    """N x 4 bit masks over `THRESHOLDS`, a column an area range"""
    ignored: np.ndarray
    true_images: np.ndarray
    """M: images with truth or detections of the class"""
    truths: np.ndarray
    """M x 4: number of true objects that count in each of `true_images`"""

    def hits(self, area: int) -> tuple[np.ndarray, np.ndarray]:
        """(true positives, false positives), T x N, of one area range."""
        return hits(self.matched[:, area], self.ignored[:, area])


def hits(matched: np.ndarray, ignored: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(true positives, false positives), T x N, from N bit masks over `THRESHOLDS`."""
    bits = np.arange(len(THRESHOLDS), dtype=np.uint16)[:, None]
    hit, passed = (((flags >> bits) & 1).astype(bool) for flags in (matched, ignored))
    return hit & ~passed, ~hit & ~passed


def detections(statistics: Statistics, kind: str) -> list[Detections]:
    """For each class, its detections; `kind` is "mask" or "box"."""
    columns = ("scores", f"{kind}_matched", f"{kind}_ignored", "truths")
    flags = np.zeros((0, len(AREAS)), np.uint16)
    found, true = [(*(np.zeros(0, int),) * 4, flags, flags)], [(np.zeros(0, int), np.zeros(0, int), flags)]
    for batch in statistics.batches("instance", columns):
        scores, lengths = batch.lists("scores")
        row = np.repeat(np.arange(len(batch)), lengths)
        rank = np.arange(len(scores)) - np.repeat(np.cumsum(lengths) - lengths, lengths)
        image = positions(batch.image_ids, statistics.heading.image_ids)[batch.image]
        matched, ignored, truths = (batch.lists(c)[0].reshape(-1, len(AREAS)) for c in columns[1:])
        found.append((batch.class_ids[row], image[row], scores, rank, matched, ignored))
        true.append((batch.class_ids, image, truths))
    classes, *values = (np.concatenate(column) for column in zip(*found))
    true_classes, true_images, truths = (np.concatenate(column) for column in zip(*true))
    order = np.lexsort((-values[1], classes))
    result = []
    for c in statistics.heading.tasks["instance"].classes:
        at = order[slice(*np.searchsorted(classes[order], [c.id, c.id + 1]))]
        own = true_classes == c.id
        mine = [v[at] for v in values] + [true_images[own], truths[own]]
        result.append(Detections(*mine))
    return result


def precision(found: Detections, area: int) -> np.ndarray:
    """Interpolated precision at the 101 recalls, T x 101; -1 where the class has no truth."""
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
    """Final recall at each threshold, T; -1 where the class has no truth."""
    truths = found.truths[:, area].sum()
    true = found.hits(area)[0][:, found.ranks < max_detections].sum(1)
    return true / truths if truths else np.full(len(THRESHOLDS), -1.0)


def _defined_mean(values: np.ndarray) -> float:
    """COCO's mean: over what is not -1."""
    values = values[values > -1]
    return float(values.mean()) if values.size else float("nan")


def pooled(statistics: Statistics) -> list[Score]:
    """Every instance score of a statistics file."""
    scored, options = statistics.heading.tasks["instance"], statistics.heading.options
    last = scored.max_detections[-1]
    sheet = Sheet("instance", [c.name for c in scored.classes], bool(scored.conversion))

    def contract(rule: str, limit: int = last) -> Contract:
        return Contract("dataset", "crowd", "class skipped", match=rule, max_detections=limit)

    for kind in scored.kinds:
        found = detections(statistics, kind)
        prefix = "" if kind == "mask" else f"{kind}_"
        for metric, values, rule, limit in _coco_figures(found, scored.max_detections):
            classes = [_defined_mean(v) for v in np.moveaxis(values, -1, 0)]
            sheet.add(prefix + metric, _defined_mean(values), classes, contract(rule, limit))
        if "calibration" in options.families and not scored.conversion:
            groups = [found, *([f] for f in found)]
            if all(((f.scores >= 0) & (f.scores <= 1)).all() for f in found):
                error, *errors = (_calibration(group, options.calibration_bins) for group in groups)
            else:  # such scores are no probabilities
                error, *errors = [float("nan")] * len(groups)
            sheet.add(prefix + "ece", error, errors, contract("IoU >= 0.5"))
    if "objects" in options.families and "mask" in scored.kinds:
        for metric, values, made in pooled_objects(statistics, [c.id for c in scored.classes]):
            sheet.add(metric, mean(values), values, made)
    return sheet.scores


def _coco_figures(
    found: list[Detections], limits: tuple[int, ...]
) -> Iterator[tuple[str, np.ndarray, str, int]]:
    """COCO's twelve: (metric, values, when they match, maxDets). The last axis of the values is the class.

    It comes last as in pycocotools, since the order of a sum decides its last bit.
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
    """Expected calibration error of the scores at IoU .5, without detections of ignored truth."""
    scores = np.concatenate([f.scores for f in found])
    true, false = (np.concatenate(h) for h in zip(*([side[0] for side in f.hits(0)] for f in found)))
    counted = true | false
    if not counted.any():
        return float("nan")
    return calibration_error(scores[counted].tolist(), true[counted].tolist(), n_bins=bins)[0]
