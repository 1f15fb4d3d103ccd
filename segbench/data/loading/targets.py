"""Truth for training: integer layers, which transforms can change, and the `Target` that is made of them.

A layer is an H x W int32 map where 0 is void, padding or no object:
    semantic view   one layer: index of the class + 1; if classes overlap, sum of 2 ** index + 1
    panoptic view   one layer: number of the segment (from 1)
    instance view   a layer that is 1 where the truth is known, then layers of object numbers; objects that
                    overlap are in different layers, so 375 cells need one or two
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from segbench.contract.prediction import IGNORE, Target
from segbench.contract.view import Task, View
from segbench.data.coco.index import AnnotationIndex
from segbench.data.coco.masks import RLE, decode_at, to_rle
from segbench.data.dataset import ImageRecord, Split, rgb_to_id
from segbench.data.loading.decoding import read_colours, read_labels
from segbench.data.loading.grid import Grid
from segbench.errors import SegbenchError

Layers = tuple[np.ndarray, np.ndarray]
"""K x H x W int32 layers, and the class index of each number (N int64; empty in the semantic view)."""


class LayerReader(Protocol):
    """Reads the layers of one image."""

    def __call__(self, record: ImageRecord, grid: Grid) -> Layers:
        """Return the layers at the pixels of a grid. SegbenchError if they are of another size."""
        ...


def layer_reader(split: Split, view: View) -> LayerReader:
    """Return the reader of a split for the task of a view."""
    readers: dict[Task, Any] = {
        "semantic": SemanticReader,
        "instance": InstanceReader,
        "panoptic": PanopticReader,
    }
    return readers[view.task](split, view)


class SemanticReader:
    """Reads semantic maps. SegbenchError for a label that is not in the class list."""

    def __init__(self, split: Split, view: View) -> None:
        self._split = split
        void = split.dataset.info.void
        self._numbers = np.full(void + 1, -1, np.int32)  # by value in the file; -1: not in the class list
        if view.overlapping:  # category ids count from 1, and indices from 0: bits stay as they are
            self._numbers[: 2 ** len(view.classes)] = np.arange(2 ** len(view.classes)) + 1
        for category, index in {} if view.overlapping else view.index_of.items():
            self._numbers[category] = index + 1
        self._numbers[void] = 0

    def __call__(self, record: ImageRecord, grid: Grid | None = None) -> Layers:
        """Return the layer at the pixels of a grid, or of the whole image."""
        path = self._split.semantic_path(record.stem)
        values = read_labels(path, self._split.kept)
        values = values if grid is None else grid.of(values, record)
        numbers = self._numbers.take(values, mode="clip")  # what is larger than void becomes void
        unknown = (numbers < 0) | (values >= len(self._numbers))
        if unknown.any():
            raise SegbenchError(
                f"label {values[unknown].max()} is outside the class list",
                where=path,
                remedy="convert the dataset again, or fix its labels",
            )
        return numbers[None], np.zeros(0, np.int64)


class InstanceReader:
    """Reads the objects of `instances.json`, without crowds, and void from semantic maps."""

    def __init__(self, split: Split, view: View) -> None:
        self._split, self._index_of = split, view.index_of
        self._annotations = AnnotationIndex(split.instances_json)

    def __call__(self, record: ImageRecord, grid: Grid) -> Layers:
        values = read_labels(self._split.semantic_path(record.stem), self._split.kept)
        known = grid.of(values, record)
        known = known != self._split.dataset.info.void
        objects = [one for one in self._annotations[record.id] if not one["iscrowd"]]
        masks = [to_rle(one["segmentation"], *grid.size) for one in objects]
        layers = np.stack([known.astype(np.int32), *stack_objects(masks, grid)])
        return layers, np.array([self._index_of[one["category_id"]] for one in objects], np.int64)


class PanopticReader:
    """Reads panoptic maps, without crowds. Segments of one stuff class become one."""

    def __init__(self, split: Split, view: View) -> None:
        self._split = split
        self._index_of = view.index_of
        self._annotations = AnnotationIndex(split.panoptic_json)
        self._things = frozenset(view.thing_indices)

    def __call__(self, record: ImageRecord, grid: Grid) -> Layers:
        path = self._split.panoptic_folder / f"{record.stem}.png"
        colours = read_colours(path, self._split.kept)
        ids = rgb_to_id(grid.of(colours, record))
        number_of: dict[tuple[int, int], int] = {}  # one segment per thing, one per stuff class
        known, numbers = [0], [0]
        for segment, label in sorted(self._segments(record)):
            key = (label, segment if label in self._things else 0)
            known.append(segment)
            numbers.append(number_of.setdefault(key, len(number_of) + 1))
        layer = numbered(ids, np.array(known), np.array(numbers, np.int32))  # 0 for crowds
        return layer[None], np.array([label for label, _ in number_of], np.int64)

    def _segments(self, record: ImageRecord) -> list[tuple[int, int]]:
        """Return id and class index of the segments of an image, without crowds."""
        return [
            (segment["id"], self._index_of[segment["category_id"]])
            for annotation in self._annotations[record.id]
            for segment in annotation["segments_info"]
            if not segment["iscrowd"]
        ]


def numbered(ids: np.ndarray, known: np.ndarray, numbers: np.ndarray) -> np.ndarray:
    """Replace ids by numbers, and other values by 0.

    Values are looked up by run along the rows, of which a map has few.

    Args:
        ids: H x W integers.
        known: N ids, rising.
        numbers: N numbers.
    """
    flat = ids.ravel()
    starts = np.append(0, np.flatnonzero(flat[1:] != flat[:-1]) + 1)
    values = flat[starts]
    place = np.searchsorted(known, values).clip(max=len(known) - 1)
    found = np.where(known[place] == values, numbers[place], 0)
    return np.repeat(found, np.diff(starts, append=flat.size)).reshape(ids.shape)


def stack_objects(masks: Sequence[RLE], grid: Grid) -> list[np.ndarray]:
    """Number objects from 1 and distribute them over layers so that none overlap (first fit).

    Args:
        masks: run lengths.
        grid: pixels of the layers.

    Returns:
        H x W int32 layers, at least one.
    """
    layers = [np.zeros(grid.shape, np.int32)]
    for number, (box, pixels) in enumerate(decode_at(masks, grid.rows, grid.columns), 1):
        layer = next((one for one in layers if not one[box][pixels].any()), None)
        if layer is None:
            layers.append(layer := np.zeros(grid.shape, np.int32))
        layer[box][pixels] = number
    return layers


def build_target(task: Task, layers: Tensor, labels: Tensor, image_id: int) -> Target:
    """Build the `Target` of an image. Objects without pixels, for instance after a crop, are dropped.

    Args:
        task: task of the view.
        layers: K x H x W integer layers, see the module.
        labels: N int64, class index of each number in the layers.
        image_id: id of the image in its split.
    """
    target: Target = {"image_id": image_id, "valid": layers[0] > 0}
    if task == "semantic":
        target["semantic"] = torch.where(target["valid"], layers[0] - 1, IGNORE).long()
        return target
    numbers, masks = _objects(layers if task == "panoptic" else layers[1:])
    target.update(labels=labels[numbers - 1], masks=masks)
    if task == "instance":
        target["boxes"] = mask_bounds(masks)
    return target


def _objects(layers: Tensor) -> tuple[Tensor, Tensor]:
    """Return the numbers that occur (N, rising), and the mask of each (N x H x W bool)."""
    shown = [torch.bincount(layer.flatten(), minlength=1)[1:].nonzero()[:, 0] + 1 for layer in layers]
    places = sorted((number, k) for k, numbers in enumerate(shown) for number in numbers.tolist())
    masks = torch.empty(len(places), *layers.shape[1:], dtype=torch.bool)
    for mask, (number, k) in zip(masks, places):
        torch.eq(layers[k], number, out=mask)
    return torch.tensor([number for number, _ in places], dtype=torch.int64), masks


def mask_bounds(masks: Tensor) -> Tensor:
    """Return the boxes (N x 4 float32: x0, y0, x1, y1) of N x H x W masks that are not empty.

    The box of a single pixel has width and height 1.
    """
    ends = []
    for dim in (1, 2):  # over rows: extent along x; over columns: extent along y
        hit = masks.any(dim).to(torch.uint8)
        ends.append((hit.argmax(1), hit.shape[1] - hit.flip(1).argmax(1)))
    (x0, x1), (y0, y1) = ends
    return torch.stack([x0, y0, x1, y1], 1).float()
