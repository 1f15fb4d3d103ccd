"""Predictions of images that are too large for one pass: overlapping tiles, whose objects are joined.

Maps of labels are stitched: each pixel is taken from the tile whose border is farther away. Objects are
joined as in `segbench.prediction.joining`. Masks are kept as run lengths of their boxes, so that memory grows
with the objects, and with one map of labels, but not with objects times the size of the image.
"""

from __future__ import annotations

from itertools import product

import numpy as np
import torch
from torch import Tensor

from segbench.contract.prediction import Instances, Panoptic, Prediction
from segbench.models.network import Network
from segbench.prediction.host import on_host
from segbench.prediction.joining import NEAR, Joiner
from segbench.prediction.outlines import Outline, Region, outlines, union
from segbench.prediction.windows import owned_spans, window_spans


def predict_tiles(
    network: Network, images: Tensor, size: tuple[int, int], window: tuple[int, int], overlap: float
) -> list[Prediction]:
    """Predict images tile by tile.

    Each tile is predicted at its size in the original image, rounded to whole pixels.

    Args:
        network: any network that predicts objects, segments or a map of labels.
        images: B x C x h x w, normalised and resized.
        size: height and width of the original images.
        window: height and width of a tile, in pixels of `images`.
        overlap: overlap of neighbouring tiles, as a fraction of the tile.

    Returns:
        B predictions of the original size, on the CPU. Masks of objects are COCO run lengths.
    """
    fed = (images.shape[-2], images.shape[-1])
    spans = [window_spans(length, side, overlap) for length, side in zip(fed, window)]
    if all(len(axis) == 1 for axis in spans):
        return network.predict(images, [size] * len(images))
    original = [[_scaled(s, new / old) for s in axis] for axis, new, old in zip(spans, size, fed)]
    owned = [owned_spans(axis) for axis in original]
    near = NEAR * max(1.0, *(new / old for new, old in zip(size, fed)))
    whole = [_Whole(size, near, network.view.thing_indices) for _ in images]
    for seen, tile, own in zip(product(*spans), product(*original), product(*owned), strict=True):
        rows, columns = tile
        shape = (rows.stop - rows.start, columns.stop - columns.start)
        parts = network.predict(images[..., seen[0], seen[1]], [shape] * len(images))
        for one, part in zip(whole, parts, strict=True):
            one.add((rows, columns), (own[0], own[1]), on_host(part))
    return [one.prediction() for one in whole]


def _scaled(span: slice, factor: float) -> slice:
    """Return a span in pixels of the original image, at least one pixel long."""
    start, stop = round(span.start * factor), round(span.stop * factor)
    return slice(min(start, stop - 1), stop) if stop else slice(0, 1)


class _Whole:
    """The prediction of one image, tile by tile.

    Args:
        size: height and width of the image.
        near: see `Joiner`.
        things: classes whose segments are objects.
    """

    def __init__(self, size: tuple[int, int], near: float, things: tuple[int, ...]) -> None:
        self._size, self._near = size, near
        self._semantic: Tensor | None = None
        self._objects: _Objects | None = None
        self._segments: _Segments | None = None
        self._things = things

    def add(self, tile: Region, own: Region, part: Prediction[Tensor]) -> None:
        """Add the prediction of a tile, which decides the pixels of `own` in maps of labels."""
        if part.semantic is not None:
            if self._semantic is None:
                self._semantic = torch.zeros(self._size, dtype=torch.int32)
            self._semantic[own] = part.semantic[_relative(own, tile)].int()
        if part.instances is not None:
            self._objects = self._objects or _Objects(self._size, self._near)
            self._objects.add(tile, part.instances)
        if part.panoptic is not None:
            self._segments = self._segments or _Segments(self._size, self._near, self._things)
            self._segments.add(tile, own, part.panoptic)

    def prediction(self) -> Prediction[Tensor]:
        """Return the prediction of the whole image."""
        return Prediction(
            self._semantic,
            self._objects.joined() if self._objects else None,
            self._segments.joined() if self._segments else None,
        )


def _relative(region: Region, tile: Region) -> Region:
    """Return a region of the image in pixels of a tile."""
    rows, columns = (slice(a.start - b.start, a.stop - b.start) for a, b in zip(region, tile))
    return rows, columns


class _Objects:
    """Objects with masks, boxes or both."""

    def __init__(self, size: tuple[int, int], near: float) -> None:
        self._size, self._joiner = size, Joiner(size, near)
        self._boxes: list[Tensor] = []
        self._masks = True

    def add(self, tile: Region, found: Instances[Tensor]) -> None:
        corner = torch.tensor([tile[1].start, tile[0].start] * 2)
        labels, scores = found.labels.numpy(), found.scores.float().numpy()
        boxes = None if found.boxes is None else found.boxes.float() + corner
        if found.masks is None:
            assert boxes is not None
            keep = ((boxes[:, 2:] > boxes[:, :2]).all(1)).numpy()
            shapes: list = [tuple(box) for box in boxes[torch.from_numpy(keep)].tolist()]
            self._masks = False
        else:
            assert isinstance(found.masks, Tensor)  # networks give no run lengths
            masks = found.masks.numpy()
            keep = np.asarray(masks.any((1, 2)))
            shapes = list(outlines(masks[keep], tile[0].start, tile[1].start))
        self._joiner.add(tile, labels[keep], scores[keep], shapes)
        if boxes is not None:
            self._boxes.append(boxes[torch.from_numpy(keep)])

    def joined(self) -> Instances[Tensor]:
        pieces, joiner = self._joiner.pieces, self._joiner
        groups = joiner.objects()
        scores = torch.tensor([max(pieces[k].score for k in group) for group in groups])
        labels = torch.tensor([pieces[group[0]].label for group in groups], dtype=torch.int64)
        order = scores.argsort(descending=True, stable=True)
        kept = [joiner.outline(groups[k]) for k in order.tolist()]
        boxes = masks = None
        if self._boxes:
            every = torch.cat(self._boxes)
            hulls = [torch.cat([every[k, :2].amin(0), every[k, 2:].amax(0)]) for k in kept]
            boxes = torch.stack(hulls) if hulls else torch.zeros(0, 4)
        if self._masks:
            masks = [
                union([s for k in group if isinstance(s := pieces[k].shape, Outline)], self._size)
                for group in kept
            ]
        return Instances(scores[order], labels[order], masks, boxes)


class _Segments:
    """Panoptic segments: objects are joined, and stuff of one class is one segment."""

    def __init__(self, size: tuple[int, int], near: float, things: tuple[int, ...]) -> None:
        self._things, self._joiner = things, Joiner(size, near)
        self._map = torch.zeros(size, dtype=torch.int32)
        """1 + the number of the segment, over all tiles."""
        self._labels: list[int] = []
        self._scores: list[float] = []
        self._objects: list[int] = []
        """Number of the segment of each piece."""

    def add(self, tile: Region, own: Region, found: Panoptic[Tensor]) -> None:
        segments = found.segments.int()
        before = len(self._labels)
        inner = segments[_relative(own, tile)]
        self._map[own] = torch.where(inner > 0, inner + before, 0)
        labels, scores = found.labels.numpy(), found.scores.float().numpy()
        self._labels += labels.tolist()
        self._scores += scores.tolist()
        present = np.isin(np.arange(1, len(labels) + 1), segments.numpy())
        objects = np.flatnonzero(np.isin(labels, self._things) & present)
        self._objects += (before + objects).tolist()
        shapes = [
            outline
            for k in objects
            for outline in outlines((segments == int(k) + 1).numpy()[None], tile[0].start, tile[1].start)
        ]
        self._joiner.add(tile, labels[objects], scores[objects], shapes)

    def joined(self) -> Panoptic[Tensor]:
        first = list(range(len(self._labels)))  # the segment that each one becomes a part of
        for group in self._joiner.objects():
            for k in group:
                first[self._objects[k]] = self._objects[group[0]]
        stuff: dict[int, int] = {}
        for k, label in enumerate(self._labels):
            if label not in self._things:
                first[k] = stuff.setdefault(label, k)
        whole = torch.tensor([-1, *first])[self._map.long()]
        seen = whole.unique()
        seen = seen[seen >= 0]
        number = torch.zeros(len(first) + 1, dtype=torch.int32)
        number[seen] = torch.arange(1, len(seen) + 1, dtype=torch.int32)
        best = [-np.inf] * len(first)
        for k, score in zip(first, self._scores):
            best[k] = max(best[k], score)
        chosen = seen.tolist()
        labels = torch.tensor([self._labels[k] for k in chosen], dtype=torch.int64)
        return Panoptic(number[whole], labels, torch.tensor([best[k] for k in chosen]))
