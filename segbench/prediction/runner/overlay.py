"""Paint a prediction over an image."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from scipy import ndimage
from torch import Tensor

from segbench.contract.prediction import Instances, Prediction
from segbench.contract.view import View, has_class
from segbench.data.coco.masks import decode
from segbench.data.painting import Region, paint


def overlay(image: np.ndarray, found: Prediction, view: View, min_score: float) -> np.ndarray:
    """Paint the richest part of a prediction over an image, in the colours of the classes.

    Args:
        image: H x W x 3 uint8.
        found: prediction of H x W, on the host.
        view: classes of the prediction's labels.
        min_score: objects below this score are not painted.
    """
    return paint(image, _regions(found, view, image.shape[:2], min_score))


def _regions(found: Prediction, view: View, size: tuple[int, ...], min_score: float) -> Iterator[Region]:
    if found.panoptic is not None:
        segments = found.panoptic.segments.numpy()
        boxes = ndimage.find_objects(segments, len(found.panoptic.labels))  # one pass for all segments
        for k, (label, box) in enumerate(zip(found.panoptic.labels.tolist(), boxes), 1):
            if box is not None:
                category = view.classes[label]
                corner = (box[0].start, box[1].start)
                yield Region(category, segments[box] == k, category.isthing, corner=corner)
    elif found.instances is not None:
        yield from _objects(found.instances, view, size, min_score)
    else:
        assert found.semantic is not None
        labels = found.semantic.numpy()
        for label, category in enumerate(view.classes):
            if view.overlapping:
                yield Region(category, has_class(labels, label), overlaps=True)
            elif category.id != 0:
                yield Region(category, labels == label)


def _objects(found: Instances, view: View, size: tuple[int, ...], min_score: float) -> Iterator[Region]:
    """Yield the objects by rising score, so that the best is on top; without masks, the insides of boxes."""
    for k in found.scores.argsort(stable=True).tolist():
        if found.scores[k] < min_score:
            continue
        if found.masks is not None:
            mask = found.masks[k]
            mask = mask.numpy() if isinstance(mask, Tensor) else decode(mask)
        else:
            assert found.boxes is not None
            left, top, right, bottom = (max(0, round(v)) for v in found.boxes[k].tolist())
            mask = np.zeros(size, bool)
            mask[top:bottom, left:right] = True
        yield Region(view.classes[int(found.labels[k])], mask, is_object=True)
