"""The answers of one folder of predictions, converted where it has none of its own for a task."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cached_property
from pathlib import Path

import numpy as np

from segbench.contract.view import Task
from segbench.data.coco import checks
from segbench.data.dataset import ImageRecord, Split
from segbench.errors import SegbenchError
from segbench.evaluation import derive
from segbench.evaluation.instance.ap import Found
from segbench.evaluation.instance.files import InstanceFile, read_results
from segbench.evaluation.panoptic.files import PanopticFiles
from segbench.evaluation.panoptic.quality import Side
from segbench.evaluation.semantic.maps import read_labels

_PARTS: dict[Task, str] = {"semantic": "semantic", "instance": "instances", "panoptic": "panoptic"}
CONVERSIONS = {
    ("semantic", "panoptic"): "each segment painted with its class",
    ("semantic", "instance"): "objects painted by ascending score, from min_score on",
    ("instance", "panoptic"): "segments of things, with their scores",
    ("instance", "semantic"): "8-connected components of things, scored by their share of the image",
    ("panoptic", "semantic"): "8-connected components of things, one segment for each stuff class",
    ("panoptic", "instance"): "things by descending score without overlap, from min_score on",
}
"""(task, task of the prediction) -> how the one is made of the other."""


class Predicted:
    """Predictions on a split: `parts` as predictions.json lists them, `task` of the network's view.

    Maps hold category ids; void and unlabelled pixels come as 0, or as the dataset's void value.
    """

    def __init__(
        self, split: Split, folder: Path, parts: Sequence[str], task: Task, min_score: float
    ) -> None:
        self.folder, self._split, self._min_score = folder, split, min_score
        self._info = split.dataset.info
        self._things = [c.id for c in self._info.categories if c.isthing]
        given: list[Task] = [t for t, part in _PARTS.items() if part in parts]
        self.boxes_only = "boxes" in parts
        """Whether objects have no masks: then they answer the instance task only, and of that the boxes."""
        self.sources: dict[Task, Task] = {}
        """For each task with truth that can be answered: the task of the part that answers."""
        for wanted in self._info.tasks:
            order: tuple[Task, ...] = (wanted, "panoptic", task, "semantic", "instance")
            if source := next((t for t in order if t in given), None):
                self.sources[wanted] = source
        if self.boxes_only and "instance" in self._info.tasks:
            self.sources["instance"] = "instance"
        if not self.sources:
            raise SegbenchError(f"no part of {list(parts)} answers a task of the dataset", where=folder)

    @cached_property
    def _results(self) -> InstanceFile:
        images = [record.id for record in self._split]
        path = self.folder / "instances.json"
        return read_results(path, images, self._things, masks=not self.boxes_only)[0]

    @cached_property
    def _segments(self) -> PanopticFiles:
        known = [c.id for c in self._info.categories]
        found = PanopticFiles(self.folder / "panoptic.json", self.folder / "panoptic", known)
        own = {i: c["name"] for i, c in found.categories.items()}
        true = {c.id: c.name for c in self._info.categories}
        checks.check_same_ids(true, own, "category", self._split.panoptic_json, found.path)
        return found

    def open(self, task: Task) -> None:
        """Read what the answers to `task` need, ahead of a fork."""
        if self.sources[task] == "instance":
            _ = self._results
        elif self.sources[task] == "panoptic":
            _ = self._segments

    def semantic(self, record: ImageRecord, shape: tuple[int, int]) -> np.ndarray:
        """H x W map of category ids; 0 where nothing is."""
        if self.sources["semantic"] == "semantic":
            return self._labels(record, shape)
        return derive.semantic_from_panoptic(self.segments(record, shape, "semantic"))

    def instances(self, record: ImageRecord, shape: tuple[int, int]) -> Found:
        if self.sources["instance"] == "instance":
            return self._results.found(record.id, shape)
        return derive.instances_from_panoptic(self.segments(record, shape, "instance"), self._things)

    def panoptic(self, record: ImageRecord, shape: Callable[[int], tuple[int, int]]) -> Side:
        """`shape` gives height and width of an image, where they are needed."""
        if self.sources["panoptic"] == "panoptic":
            return self._segments.side(record.id)
        return self.segments(record, shape(record.id)).side(record.id)

    def segments(
        self, record: ImageRecord, shape: tuple[int, int], task: Task = "panoptic"
    ) -> derive.Segments:
        """The part that answers `task` as a panoptic map."""
        source = self.sources[task]
        if source == "panoptic":
            return self._segments.read(record.id, shape)
        if source == "semantic":
            return self._components(record, shape)
        found = self._results.found(record.id, shape)
        return derive.panoptic_from_instances(found, shape, self._min_score)

    def _components(self, record: ImageRecord, shape: tuple[int, int]) -> derive.Segments:
        labels = self._labels(record, shape)
        known = [c.id for c in self._info.categories]
        return derive.panoptic_from_semantic(np.where(np.isin(labels, known), labels, 0), self._things)

    def _labels(self, record: ImageRecord, shape: tuple[int, int]) -> np.ndarray:
        return read_labels(self.folder / "semantic" / f"{record.stem}.png", shape)
