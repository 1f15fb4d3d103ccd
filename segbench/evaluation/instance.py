"""Average precision of objects, masks and boxes: COCO's protocol, equal to pycocotools to the last bit."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
import pyarrow as pa
from hotcoco.metrics import calibration_error
from pycocotools import mask as rle

from segbench.evaluation.averages import mean
from segbench.evaluation.contract import Contract, Score, Sheet
from segbench.evaluation.matching import AREAS, THRESHOLDS, Group, match, outside
from segbench.evaluation.objects import measure as measure_objects
from segbench.evaluation.objects import pooled as pooled_objects
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
    parts = [part for item in items for part in _by_class(*read(item), scored, objects)]
    groups = {kind: [part.groups[kind] for part in parts] for kind in scored.kinds}
    found = {kind: match(groups[kind]) for kind in scored.kinds}
    rows = Rows("instance")
    for k, part in enumerate(parts):
        hits = {f"{kind}_{name}": f[k] for kind, both in found.items() for name, f in zip(_FLAGS, both)}
        rows.add(**part.values | hits)
    return rows.batch()


_FLAGS = ("matched", "ignored")


@dataclass
class _Part:
    """What one image has of one class."""

    groups: dict[str, Group]
    values: dict[str, Any]


def _by_class(
    image_id: int, image: str, truth: Found, detected: Found, scored: Scored, objects: bool
) -> Iterator[_Part]:
    detected = _ranked(detected, scored.max_detections[-1])
    truth = truth.take(np.argsort(truth.class_ids, kind="stable"))
    counted = ~outside(truth.areas) & ~truth.crowd[:, None]
    pixels = [_pixels(detected), _pixels(truth)] if objects else []
    classes = np.union1d(truth.class_ids, detected.class_ids)
    d_edges, g_edges = (np.searchsorted(f.class_ids, np.append(classes, np.inf)) for f in (detected, truth))
    for k, class_id in enumerate(classes.tolist()):
        d, g = slice(*d_edges[k : k + 2]), slice(*g_edges[k : k + 2])
        crowd = truth.crowd[g]
        groups = {
            kind: Group(_iou(kind, detected, truth, d, g), detected.areas[d], truth.areas[g], crowd)
            for kind in scored.kinds
        }
        scores = detected.scores[d]
        values = {"image_id": image_id, "image": image, "class_id": class_id, "scores": scores}
        values["truths"] = counted[g].sum(0)
        if objects:
            sure = np.flatnonzero(scores >= scored.min_score)
            values |= measure_objects(groups["mask"].iou[sure], pixels[0][d][sure], pixels[1][g], crowd)
        yield _Part(groups, values)


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
    field = "masks" if kind == "mask" else "boxes"
    return rle.iou(getattr(detected, field)[d], getattr(truth, field)[g], crowd.tolist())


def _pixels(found: Found) -> np.ndarray:
    return np.asarray(rle.area(found.masks) if found.masks else [], float)


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
            errors = [_calibration([f], options.calibration_bins) for f in found]
            sheet.add(
                prefix + "ece", _calibration(found, options.calibration_bins), errors, contract("IoU >= 0.5")
            )
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
