"""Objects, segments and the label map of a prediction, whichever parts the network predicts."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from pycocotools import mask as coco
from scipy import ndimage
from torch import Tensor

from segbench.contract.prediction import Instances, Prediction
from segbench.contract.view import View, has_class
from segbench.data.coco.masks import RLE, areas, encode, major_axes, objects_of_map, paint

_EIGHT = np.ones((3, 3), bool)


@dataclass(frozen=True)
class FoundObject:
    """One object in an image."""

    label: int
    """Index of its class."""
    score: float
    """Score; of components of a map of labels, their share of the image."""
    mask: RLE | None
    """None if the network predicts only boxes."""
    box: list[float]
    """Left, top, width and height in pixels."""
    area: float
    """Pixels of the mask, or of the box."""
    length: float | None
    """Major axis of the mask in pixels, see `segbench.data.coco.masks.major_axes`; None without a mask."""


@dataclass(frozen=True)
class Segments:
    """Parts of an image that do not overlap."""

    index: np.ndarray
    """H x W int32: k + 1 for the k-th segment, 0 for none."""
    labels: list[int]
    """Index of the class of each."""
    scores: list[float]
    """Score of each; see `FoundObject.score`."""


def only_boxes(found: Prediction) -> bool:
    """Return whether a prediction has neither masks nor a map."""
    objects = found.instances
    return found.semantic is None and found.panoptic is None and objects is not None and objects.masks is None


def has_scores(found: Prediction) -> bool:
    """Return whether the network scores its objects; else they are components of a map of labels."""
    return found.panoptic is not None or found.instances is not None


def segments(found: Prediction, view: View, size: tuple[int, int], min_score: float) -> Segments:
    """Return the segments of a prediction of `size` (height, width) on the host.

    Those of a panoptic prediction. Else objects from `min_score` on, where the better one is on top, or the
    8-connected components of things of a map of labels, and one segment for each other class.
    """
    if found.panoptic is not None:
        whole = found.panoptic
        return Segments(whole.segments.numpy().astype(np.int32), whole.labels.tolist(), whole.scores.tolist())
    if found.instances is not None:
        best = [one for one in _instances(found.instances) if one.score >= min_score and one.mask]
        best.sort(key=lambda one: one.score)
        index = np.zeros(size, np.int32, order="F")
        paint(index, [one.mask for one in best if one.mask], range(1, len(best) + 1))
        return Segments(index, [one.label for one in best], [one.score for one in best])
    assert found.semantic is not None
    labels = found.semantic.numpy()
    index = np.zeros(labels.shape, np.int32)
    of_segment: list[int] = []
    for label, category in enumerate(view.classes):
        mask = has_class(labels, label) if view.overlapping else labels == label
        if category.id == 0 or not mask.any():
            continue
        parts, number = ndimage.label(mask, _EIGHT) if category.isthing else (mask, 1)
        index[mask] = (parts[mask] + len(of_segment)) if category.isthing else len(of_segment) + 1
        of_segment += [label] * number
    counts = np.bincount(index.ravel(), minlength=len(of_segment) + 1)[1:]
    return Segments(index, of_segment, (counts / labels.size).tolist())


def objects(
    found: Prediction, view: View, size: tuple[int, int], min_score: float, *, all_scores: bool = False
) -> list[FoundObject]:
    """Return the objects of a prediction on the host: the segments of things, or the objects themselves.

    Args:
        found: the prediction.
        view: classes of its labels.
        size: height and width.
        min_score: objects below this score are left out.
        all_scores: prefer the objects to the segments if the network predicts both, and leave none out.
    """
    if found.instances is not None and (all_scores or found.panoptic is None):
        return [o for o in _instances(found.instances) if all_scores or o.score >= min_score]
    if view.overlapping:
        assert found.semantic is not None
        split: list[FoundObject] = []
        for label in view.thing_indices:
            parts, number = ndimage.label(has_class(found.semantic.numpy(), label), _EIGHT)
            counts = np.bincount(parts.ravel(), minlength=number + 1)[1:] / parts.size
            split += _measured(parts, dict.fromkeys(range(1, number + 1), label), counts.tolist())
        return split
    whole = segments(found, view, size, min_score)
    things = {k: label for k, label in enumerate(whole.labels, 1) if view.classes[label].isthing}
    return _measured(whole.index, things, [whole.scores[k - 1] for k in things])


def label_map(found: Prediction, view: View, size: tuple[int, int], min_score: float) -> np.ndarray:
    """Return the H x W map of category ids: 8 bit, or 16 bit if an id needs it. 0 is background.

    If the classes overlap, values are the sum of 2 ** (id - 1) over the classes of a pixel.
    """
    if view.overlapping:
        assert found.semantic is not None
        values = found.semantic.numpy().clip(0)
        return values.astype(np.uint8 if len(view.classes) <= 8 else np.uint16)
    dtype = np.uint8 if max(c.id for c in view.classes) < 256 else np.uint16
    ids = np.array([c.id for c in view.classes], dtype)
    if found.semantic is not None:
        return ids[found.semantic.numpy()]
    parts = segments(found, view, size, min_score)
    return np.concatenate([np.zeros(1, dtype), ids[parts.labels]])[parts.index]


def _instances(found: Instances[Tensor]) -> list[FoundObject]:
    labels, scores = found.labels.tolist(), found.scores.float().tolist()
    if found.masks is None:
        assert found.boxes is not None
        return [
            FoundObject(label, score, None, [x0, y0, x1 - x0, y1 - y0], (x1 - x0) * (y1 - y0), None)
            for label, score, (x0, y0, x1, y1) in zip(labels, scores, found.boxes.float().tolist())
        ]
    masks = [_text(m) if isinstance(m, dict) else encode(m.numpy()) for m in found.masks]
    return _with_measures(labels, scores, masks)


def _text(rle: RLE) -> RLE:
    counts = rle["counts"]
    return {"size": rle["size"], "counts": counts.decode() if isinstance(counts, bytes) else counts}


def _measured(index: np.ndarray, labels: dict[int, int], scores: list[float]) -> list[FoundObject]:
    """Return the parts of a map of numbers, given the class of each number, without those that are empty."""
    masks = [one["segmentation"] for one in objects_of_map(index, dict.fromkeys(labels, 0))]
    return [one for one in _with_measures([*labels.values()], scores, masks) if one.area]


def _with_measures(labels: list[int], scores: list[float], masks: list[RLE]) -> list[FoundObject]:
    boxes = coco.toBbox(masks).tolist() if masks else []
    rows = zip(labels, scores, masks, boxes, areas(masks).tolist(), major_axes(masks).tolist(), strict=True)
    return [FoundObject(*row) for row in rows]
