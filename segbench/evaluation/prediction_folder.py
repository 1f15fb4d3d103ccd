"""Read the predictions of one cell, converted where a task was not predicted itself."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from segbench.contract.view import Task
from segbench.data.coco import checks
from segbench.data.dataset import ImageRecord, Split
from segbench.errors import SegbenchError
from segbench.evaluation import conversions
from segbench.evaluation.annotations import Objects, SegmentMap
from segbench.evaluation.instance.files import InstanceFile, read_results
from segbench.evaluation.panoptic.files import PanopticFiles
from segbench.evaluation.semantic.maps import read_labels

_PARTS: dict[Task, str] = {"semantic": "semantic", "instance": "instances", "panoptic": "panoptic"}


class PredictionFolder:
    """Predictions of one cell on a split.

    Class maps hold category ids. Void and unlabelled pixels are 0, or the dataset's void value.

    Args:
        split: the images that were predicted.
        folder: holds `semantic/*.png`, `instances.json`, or `panoptic.json` and `panoptic/*.png`.
        parts: which of these the folder holds, as predictions.json lists them.
        task: task of the network's view; this part is preferred for conversions.
        min_score: objects with a lower score are ignored by conversions.
        images: ids of the images that will be read; None: all.

    Raises:
        SegbenchError: no part can be scored for any task of the dataset.
    """

    def __init__(
        self,
        split: Split,
        folder: Path,
        parts: Sequence[str],
        task: Task,
        min_score: float,
        images: Collection[int] | None = None,
    ) -> None:
        self.folder, self._split, self._min_score = folder, split, min_score
        self._only = images
        self._info = split.dataset.info
        self._things = [c.id for c in self._info.categories if c.isthing]
        given: list[Task] = [t for t, part in _PARTS.items() if part in parts]
        self.boxes_only = "boxes" in parts
        """Whether objects have no masks. Then only their boxes are scored."""
        self.sources: dict[Task, Task] = {}
        """Task to score -> task of the part that its prediction is read or converted from."""
        for wanted in self._info.tasks:
            own: Task = "instance" if wanted == "detection" else wanted  # its results have boxes
            order: tuple[Task, ...] = (own, "panoptic", task, "semantic", "instance")
            if source := next((t for t in order if t in given), None):
                self.sources[wanted] = source
        if self.boxes_only:
            objects: tuple[Task, ...] = ("detection", "instance")
            self.sources |= {t: "instance" for t in objects if t in self._info.tasks}
        if not self.sources:
            raise SegbenchError(
                f"no part of {list(parts)} can be scored on the dataset's tasks", where=folder
            )

    @cached_property
    def _results(self) -> InstanceFile:
        images = [record.id for record in self._split]
        path = self.folder / "instances.json"
        return read_results(path, images, self._things, masks=not self.boxes_only, only=self._only)[0]

    @cached_property
    def _segments(self) -> PanopticFiles:
        known = [c.id for c in self._info.categories]
        found = PanopticFiles(self.folder / "panoptic.json", self.folder / "panoptic", known)
        own = {i: c["name"] for i, c in found.categories.items()}
        true = {c.id: c.name for c in self._info.categories}
        checks.check_same_ids(true, own, "category", self._split.panoptic_json, found.path)
        return found

    def open(self, task: Task) -> None:
        """Read the JSON file that `task` needs, so that forked processes share it."""
        if self.sources[task] == "instance":
            _ = self._results
        elif self.sources[task] == "panoptic":
            _ = self._segments

    def semantic(self, record: ImageRecord, shape: tuple[int, int]) -> np.ndarray:
        """Return the H x W map of category ids; 0 where there is no class. `shape` is height and width."""
        if self.sources["semantic"] == "semantic":
            return self._labels(record, shape)
        return conversions.semantic_from_panoptic(self.segments(record, shape, "semantic"))

    def objects(self, task: Task, record: ImageRecord, shape: tuple[int, int]) -> Objects:
        """Return the objects of an image, for "instance" or "detection". `shape` is height and width."""
        if self.sources[task] == "instance":
            return self._results.objects(record.id, shape)
        return conversions.instances_from_panoptic(self.segments(record, shape, task), self._things)

    def panoptic(self, record: ImageRecord, shape: Callable[[int], tuple[int, int]]) -> list[dict[str, Any]]:
        """Return the segments of an image as COCO annotations, for `panoptic.quality.add_image`.

        `shape` returns height and width for an image id; it is called for conversions only.
        """
        if self.sources["panoptic"] == "panoptic":
            return self._segments.annotations(record.id)
        return self.segments(record, shape(record.id)).annotations(record.id)

    def segments(self, record: ImageRecord, shape: tuple[int, int], task: Task = "panoptic") -> SegmentMap:
        """Return the part that `task` is scored from, as segments. `shape` is height and width."""
        source = self.sources[task]
        if source == "panoptic":
            return self._segments.read(record.id, shape)
        if source == "semantic":
            return self._components(record, shape)
        objects = self._results.objects(record.id, shape)
        return conversions.panoptic_from_instances(objects, shape, self._min_score)

    def _components(self, record: ImageRecord, shape: tuple[int, int]) -> SegmentMap:
        labels = self._labels(record, shape)
        known = [c.id for c in self._info.categories]
        return conversions.panoptic_from_semantic(np.where(np.isin(labels, known), labels, 0), self._things)

    def _labels(self, record: ImageRecord, shape: tuple[int, int]) -> np.ndarray:
        return read_labels(self.folder / "semantic" / f"{record.stem}.png", shape)
