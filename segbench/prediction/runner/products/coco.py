"""COCO's formats: results, and panoptic segments."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TextIO

import numpy as np

from segbench.contract.prediction import Prediction
from segbench.contract.view import View
from segbench.data.dataset import id_to_rgb
from segbench.files import atomic_path
from segbench.prediction.runner.frame import Frame
from segbench.prediction.runner.objects import objects, segments
from segbench.prediction.runner.products.pictures import Pictures
from segbench.prediction.runner.products.product import Product, Settings, categories
from segbench.prediction.runner.rows import Rows
from segbench.prediction.runner.sources import Source


class Coco(Product):
    """`coco/results.json`: COCO results; `coco/images.json`: the images and categories that they name."""

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings)
        work = settings.work
        self._results, self._images = Rows(work / "results"), Rows(work / "images")

    @contextmanager
    def input(self, source: Source) -> Iterator[None]:
        with self._results.input(), self._images.input():
            yield

    def add(self, frame: Frame, found: Prediction) -> None:
        self._images.append(frame.described())
        for one in objects(found, self.view, frame.size, self.min_score, all_scores=True):
            result = {
                "image_id": frame.id,
                "category_id": self.view.classes[one.label].id,
                "score": one.score,
            }
            masked = {"segmentation": one.mask} if one.mask else {}
            self._results.append(result | masked | {"bbox": one.box, "area": one.area})

    def close(self) -> None:
        with atomic_path(self.out / "coco/results.json") as part, part.open("w", encoding="utf-8") as file:
            self._results.copy_array(file)
        with atomic_path(self.out / "coco/images.json") as part, part.open("w", encoding="utf-8") as file:
            write_arrays(file, {"images": self._images}, self.view)


class Panoptic(Pictures):
    """`panoptic/` and `panoptic.json`: COCO's panoptic format."""

    folder = "panoptic"

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings)
        work = settings.work
        self._annotations, self._images = Rows(work / "annotations"), Rows(work / "panoptic_images")

    @contextmanager
    def input(self, source: Source) -> Iterator[None]:
        with super().input(source), self._annotations.input(), self._images.input():
            yield

    def add(self, frame: Frame, found: Prediction) -> None:
        whole = segments(found, self.view, frame.size, self.min_score)
        areas = np.bincount(whole.index.ravel(), minlength=len(whole.labels) + 1)[1:].tolist()
        rows = enumerate(zip(whole.labels, whole.scores, areas), 1)
        ids = [c.id for c in self.view.classes]
        info = [
            {"id": k, "category_id": ids[label], "score": score, "area": area}
            for k, (label, score, area) in rows
            if area  # readers of the format reject a listed segment without pixels
        ]
        self.save(frame, id_to_rgb(whole.index))
        self._images.append(frame.described())
        annotation = {"image_id": frame.id, "file_name": f"{frame.name}.png", "segments_info": info}
        self._annotations.append(annotation)

    def close(self) -> None:
        with atomic_path(self.out / "panoptic.json") as part, part.open("w", encoding="utf-8") as file:
            write_arrays(file, {"images": self._images, "annotations": self._annotations}, self.view)


def write_arrays(file: TextIO, arrays: dict[str, Rows], view: View) -> None:
    """Write a JSON object of arrays, and the categories."""
    file.write("{")
    for name, rows in arrays.items():
        file.write(f'"{name}": ')
        rows.copy_array(file)
        file.write(",\n")
    file.write(f'"categories": {json.dumps(categories(view))}}}\n')
