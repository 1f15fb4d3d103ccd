"""Tables of objects and classes as CSV."""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np

from segbench.contract.prediction import Prediction
from segbench.contract.view import has_class
from segbench.files import atomic_path
from segbench.prediction.runner.frame import Frame
from segbench.prediction.runner.objects import has_scores, label_map, objects, only_boxes
from segbench.prediction.runner.products.product import Product, Settings
from segbench.prediction.runner.rows import Rows
from segbench.prediction.runner.sources import Source


class Table(Product):
    """`objects.csv`: one row for each object; `counts.csv`: one row for each class of an image or frame."""

    OBJECT = ("class", "score", "area", "x", "y", "width", "height", "length")
    COUNT = ("class", "objects", "area", "share")
    WHERE = ("file", "frame", "time")

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings)
        work = settings.work
        self._objects, self._counts = Rows(work / "objects"), Rows(work / "counts")
        self._object_rows, self._count_rows = csv.writer(self._objects), csv.writer(self._counts)
        self._object_rows.writerow(self.WHERE + self.OBJECT)
        self._count_rows.writerow(self.WHERE + self.COUNT)

    @contextmanager
    def input(self, source: Source) -> Iterator[None]:
        with self._objects.input(), self._counts.input():
            yield

    def add(self, frame: Frame, found: Prediction) -> None:
        moment = frame.moment
        place = (frame.file, moment.number if moment else "", f"{moment.time:.3f}" if moment else "")
        listed = objects(found, self.view, frame.size, self.min_score)
        scored = has_scores(found)
        for one in listed:
            measures = (
                f"{one.area:g}",
                *(f"{v:g}" for v in one.box),
                "" if one.length is None else f"{one.length:.1f}",
            )
            score = f"{one.score:.4f}" if scored else ""
            self._object_rows.writerow((*place, self.view.classes[one.label].name, score, *measures))
        number = Counter(one.label for one in listed)
        for label, area in enumerate(self._areas(frame, found)):
            category = self.view.classes[label]
            if category.id:
                count = number[label] if category.isthing else ""
                share = "" if area is None else f"{area / (frame.size[0] * frame.size[1]):.6f}"
                self._count_rows.writerow((*place, category.name, count, "" if area is None else area, share))

    def _areas(self, frame: Frame, found: Prediction) -> list[int | None]:
        """Return the pixels of each class; None of boxes."""
        classes = self.view.classes
        if only_boxes(found):
            return [None] * len(classes)
        values = label_map(found, self.view, frame.size, self.min_score)
        if self.view.overlapping:
            return [int(has_class(values, label).sum()) for label in range(len(classes))]
        counts = np.bincount(values.ravel(), minlength=max(c.id for c in classes) + 1)
        return [int(counts[c.id]) for c in classes]

    def close(self) -> None:
        for name, rows in (("objects.csv", self._objects), ("counts.csv", self._counts)):
            with (
                atomic_path(self.out / name) as part,
                part.open("w", encoding="utf-8", errors="surrogateescape", newline="") as file,
            ):
                rows.copy(file)
