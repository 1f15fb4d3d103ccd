"""Controls: predictors without training, whose scores put the scores of networks into perspective.

A control predicts every task that the dataset has truth for, separately, so no prediction is derived from
another one.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from pycocotools import mask as rle

from segbench.contract.prediction import Instances, Panoptic, Prediction
from segbench.contract.view import Task, has_class
from segbench.data.coco.jsonstream import scan
from segbench.data.coco.masks import to_rle
from segbench.data.dataset import Dataset, ImageRecord, Split, rgb_to_id
from segbench.data.images import open_image, read_label_map
from segbench.importing import load_object
from segbench.prediction.writer import PredictionWriter

Shape = tuple[int, int]


def run_control(class_path: str, dataset_root: Path, task: Task, seed: int, out: Path) -> None:
    """Predict the evaluation split with a control.

    Args:
        class_path: the control, as `package.module:Class`.
        dataset_root: folder of the converted dataset.
        task: task of the view that the predictions have.
        seed: seed of random controls.
        out: folder of the predictions.
    """
    dataset = Dataset(dataset_root)
    control: Control = load_object(class_path)(dataset, task, seed)
    with PredictionWriter(out, control.split, control.view, control.semantic_view) as writer:
        for record in control.split:
            writer.add(record, control.predict_image(record))


class Control:
    """Base of the controls.

    Args:
        dataset: dataset whose evaluation split is predicted.
        task: task of the view that the predictions have.
        seed: seed of random controls.
    """

    def __init__(self, dataset: Dataset, task: Task, seed: int) -> None:
        self.dataset, self.seed = dataset, seed
        self.view, self.tasks = dataset.view(task), dataset.info.tasks
        self.semantic_view = dataset.view("semantic") if "semantic" in self.tasks else self.view
        self.split = dataset.split(dataset.info.evaluation_split)

    def predict_image(self, record: ImageRecord) -> Prediction:
        """Predict one image.

        Returns:
            Semantic labels are indices into the classes of `semantic_view`, all others into those of `view`.
        """
        maps = "semantic" in self.tasks
        with Image.open(self.split.semantic_path(record.stem) if maps else record.path) as file:
            shape = file.height, file.width  # reads the header only
        return Prediction(
            semantic=self.semantic(record, shape) if maps else None,
            instances=self._instances(record, shape),
            panoptic=self.panoptic(record, shape) if "panoptic" in self.tasks else None,
        )

    def _instances(self, record: ImageRecord, shape: Shape) -> Instances | None:
        """Predict the objects; only their boxes if the truth has no masks."""
        if "detection" not in self.tasks:
            return None
        found = self.instances(record, shape)
        if "instance" not in self.tasks:
            if found.boxes is None and isinstance(found.masks, np.ndarray):
                masks = np.asfortranarray(found.masks.transpose(1, 2, 0), dtype=np.uint8)
                found.boxes = rle.toBbox(rle.encode(masks))
                found.boxes[:, 2:] += found.boxes[:, :2]
            found.masks = None
        return found

    def semantic(self, record: ImageRecord, shape: Shape) -> np.ndarray:
        """Predict the H x W semantic map."""
        raise NotImplementedError

    def instances(self, record: ImageRecord, shape: Shape) -> Instances:
        """Predict the objects."""
        raise NotImplementedError

    def panoptic(self, record: ImageRecord, shape: Shape) -> Panoptic:
        """Predict the segments."""
        raise NotImplementedError


class Constant(Control):
    """Predict the most frequent class of the training split everywhere.

    Semantic: the class with the most pixels; if classes overlap, each that most pixels have. Instances: one
    object that covers the image, of the class with the most objects. Panoptic: one segment that covers the
    image, of the class with the most pixels.
    """

    def semantic(self, record: ImageRecord, shape: Shape) -> np.ndarray:
        if self.semantic_view.overlapping:
            indices = self.semantic_view.index_of.items()
            return np.full(shape, sum(1 << index for id_, index in indices if self._is_frequent(id_)))
        return np.full(shape, self.semantic_view.index_of[_most_frequent(self._pixels)])

    def instances(self, record: ImageRecord, shape: Shape) -> Instances:
        label = self.view.index_of[_most_frequent(self._objects)]
        return Instances(np.ones(1), np.array([label]), np.ones((1, *shape), bool))

    def panoptic(self, record: ImageRecord, shape: Shape) -> Panoptic:
        labelled = Counter({k: n for k, n in self._pixels.items() if k in self.view.index_of})
        label = self.view.index_of[_most_frequent(labelled)]
        return Panoptic(np.ones(shape, np.int32), np.array([label]), np.ones(1))

    def _is_frequent(self, category: int) -> bool:
        """Return whether most labelled pixels of the training split are of a category, if these overlap."""
        return 2 * self._pixels[category] > self._values[:-1].sum()  # the last value is void

    @cached_property
    def _pixels(self) -> Counter[int]:
        """Number of pixels of each category in the training split."""
        total = self._values
        if self.semantic_view.overlapping:
            values = np.arange(len(total) - 1)
            bits = self.semantic_view.index_of.items()
            return Counter({id_: int(total[:-1][has_class(values, index)].sum()) for id_, index in bits})
        return Counter({c.id: int(total[c.id]) for c in self.semantic_view.classes})

    @cached_property
    def _values(self) -> np.ndarray:
        """Number of pixels of each value in the semantic maps of the training split, up to void."""
        train = self.dataset.split("train")
        total = np.zeros(self.dataset.info.void + 1, np.int64)
        for record in train:
            ids = read_label_map(train.semantic_path(record.stem))
            total += np.bincount(ids.ravel(), minlength=len(total))
        return total

    @cached_property
    def _objects(self) -> Counter[int]:
        """Number of objects of each category in the training split."""
        found = Counter(o["category_id"] for o in _objects(self.dataset.split("train")))
        return found or Counter(c.id for c in self.view.classes if c.isthing)


class Random(Control):
    """Predict uniformly random labels; each image has its own random state.

    Semantic: a random class for each pixel; if classes overlap, each with probability 0.5. Instances: as many
    ellipses as training images have objects on average, with random positions, sizes, classes and scores.
    Panoptic: the Voronoi cells of as many random points as training images have segments, each of a random
    class; cells of one stuff class are one segment.
    """

    def _rng(self, record: ImageRecord, part: int) -> np.random.Generator:
        return np.random.default_rng([self.seed, part, record.id])

    def semantic(self, record: ImageRecord, shape: Shape) -> np.ndarray:
        view = self.semantic_view
        labels = 2 ** len(view.classes) if view.overlapping else len(view.classes)
        return self._rng(record, 0).integers(labels, size=shape)

    def instances(self, record: ImageRecord, shape: Shape) -> Instances:
        rng, number = self._rng(record, 1), self._objects_per_image
        centres = rng.random((number, 2, 1, 1))
        radii = rng.uniform(0.02, 0.25, (number, 2, 1, 1))
        rows, columns = ((np.arange(n) + 0.5) / n for n in shape)
        distance = ((rows[:, None] - centres[:, 0]) / radii[:, 0]) ** 2
        distance = distance + ((columns - centres[:, 1]) / radii[:, 1]) ** 2
        labels = rng.choice(self.view.thing_indices, number)
        return Instances(rng.random(number), labels, distance < 1)

    def panoptic(self, record: ImageRecord, shape: Shape) -> Panoptic:
        rng, number = self._rng(record, 2), self._segments_per_image
        rows, columns = np.indices(shape)
        nearest, segments = np.full(shape, np.inf), np.zeros(shape, np.int32)
        labels: list[int] = []
        for label in rng.integers(len(self.view.classes), size=number).tolist():
            distance = np.hypot(rows - rng.uniform(0, shape[0]), columns - rng.uniform(0, shape[1]))
            if label not in labels or self.view.classes[label].isthing:
                labels.append(label)
                segment = len(labels)
            else:
                segment = labels.index(label) + 1
            closer = distance < nearest
            nearest[closer], segments[closer] = distance[closer], segment
        return Panoptic(segments, np.array(labels), rng.random(len(labels)))

    @cached_property
    def _objects_per_image(self) -> int:
        train = self.dataset.split("train")
        return max(1, round(sum(1 for _ in _objects(train)) / len(train)))

    @cached_property
    def _segments_per_image(self) -> int:
        train = self.dataset.split("train")
        segments = sum(len(a["segments_info"]) for a in _annotations(train.panoptic_json))
        return max(1, round(segments / len(train)))


class Truth(Control):
    """Copy the truth without crowds; void pixels get the first class, or none if classes overlap."""

    def semantic(self, record: ImageRecord, shape: Shape) -> np.ndarray:
        if self.semantic_view.overlapping:
            return self.split.read_semantic(record.stem).clip(min=0)
        table = np.zeros(self.dataset.info.void + 1, np.int64)
        for category, index in self.semantic_view.index_of.items():
            table[category] = index
        return table[self.split.read_semantic(record.stem)]  # void is -1 and selects the last entry

    def instances(self, record: ImageRecord, shape: Shape) -> Instances:
        objects = self._by_image.get(record.id, [])
        corners = np.array([o["bbox"] for o in objects], float).reshape(-1, 4)
        corners[:, 2:] += corners[:, :2]
        return Instances(
            np.ones(len(objects)),
            np.array([self.view.index_of[o["category_id"]] for o in objects], int),
            [to_rle(o["segmentation"], *shape) for o in objects] if "instance" in self.tasks else None,
            corners,
        )

    def panoptic(self, record: ImageRecord, shape: Shape) -> Panoptic:
        png = open_image(self.split.panoptic_folder / f"{record.stem}.png")
        ids = rgb_to_id(np.asarray(png.convert("RGB")))
        kept = [s for s in self._segments[record.id] if not s["iscrowd"]]
        segments = np.zeros(shape, np.int32)
        for number, segment in enumerate(kept, 1):
            segments[ids == segment["id"]] = number
        labels = [self.view.index_of[s["category_id"]] for s in kept]
        return Panoptic(segments, np.array(labels, int), np.ones(len(kept)))

    @cached_property
    def _by_image(self) -> dict[int, list[dict[str, Any]]]:
        found: dict[int, list[dict[str, Any]]] = {}
        for annotation in _objects(self.split):
            found.setdefault(annotation["image_id"], []).append(annotation)
        return found

    @cached_property
    def _segments(self) -> dict[int, list[dict[str, Any]]]:
        return {a["image_id"]: a["segments_info"] for a in _annotations(self.split.panoptic_json)}


def _most_frequent(counts: Counter[int]) -> int:
    """Return the most frequent key, or the smallest of several."""
    return min(counts, key=lambda k: (-counts[k], k))


def _objects(split: Split) -> Iterator[dict[str, Any]]:
    """Yield the annotations of the split's objects, without crowds."""
    return (a for a in _annotations(split.instances_json) if not a["iscrowd"])


def _annotations(path: Path) -> Iterator[dict[str, Any]]:
    return (value for key, value, *_ in scan(path) if key == "annotations")
