"""Check the annotation of one image, and derive the truth of other tasks from it where nothing is lost."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NoReturn

import numpy as np
from scipy import ndimage

from segbench.contract.view import Category
from segbench.data.coco import masks
from segbench.data.dataset import Sample
from segbench.data.writing.checked_boxes import checked_boxes
from segbench.errors import SegbenchError


@dataclass
class Truth:
    """The truth of one image as it is written.

    Attributes:
        semantic: H x W int32 map, see `Sample.semantic`; None if there are only boxes.
        instances: COCO annotations without ids, and without masks if there are only boxes.
        panoptic: H x W int32 map of segment ids, and `segments_info`.
        dropped: number of objects that were dropped because their mask has no pixel, or their box no area.
        clipped: number of boxes that were clipped to the image.
    """

    semantic: np.ndarray | None
    instances: list[dict[str, Any]] | None
    panoptic: tuple[np.ndarray, list[dict[str, Any]]] | None
    dropped: int = 0
    clipped: int = 0


def complete_truth(
    sample: Sample,
    height: int,
    width: int,
    categories: Sequence[Category],
    background: bool,
    boxes: bool = False,
    overlapping: bool = False,
) -> Truth:
    """Check the annotation of an image and derive missing truth.

    - Panoptic to semantic: the class of each segment, crowds included. Unlabelled pixels are void.
    - Panoptic to instances: the thing segments. Crowds stay crowds.
    - Instances to semantic: background 0, crowds void, then objects from large to small, so that small ones
      stay visible.
    - Masks without a pixel are dropped and counted. Polygons outside of the image are errors.
    - Boxes without masks give nothing else. They are clipped to the image.

    Args:
        sample: the annotated image.
        height, width: size of the image.
        categories: the classes of the dataset.
        background: whether semantic maps have the value 0.
        boxes: whether objects have boxes and no masks.
        overlapping: whether a pixel may have several classes; only semantic truth can be given then.

    Raises:
        SegbenchError: the annotation is not valid (see also `masks.standardise`).
        ValueError: the converter has a bug.
    """
    image = _Image(sample, height, width, categories)
    if boxes:
        if sample.instances is None or sample.panoptic is not None:
            raise ValueError(f"sample {sample.stem} of a dataset of boxes lacks objects, or has segments")
        found = checked_boxes(sample.instances, height, width, image.thing, image.where)
        known = None if sample.semantic is None else image.semantic(sample.semantic, 0 if background else 1)
        return Truth(known, found.objects, None, found.dropped, found.clipped)
    if overlapping:
        if sample.semantic is None or sample.instances is not None or sample.panoptic is not None:
            raise ValueError(f"sample {sample.stem} has other truth than a map of overlapping classes")
        return Truth(image.overlapping(sample.semantic), None, None)
    panoptic = None if sample.panoptic is None else image.panoptic(*sample.panoptic)
    annotations = sample.instances
    if annotations is None and panoptic is not None:
        annotations = image.things(*panoptic)
    instances = None if annotations is None else image.instances(annotations)
    if sample.semantic is not None:
        semantic = image.semantic(sample.semantic, lowest=0 if background else 1)
    elif panoptic is not None:
        semantic = image.classes_of(*panoptic)
    elif instances is not None:
        if not background:
            raise ValueError(
                "objects without semantic maps need a background, which the converter does not declare"
            )
        semantic = image.painted(instances)
    else:
        raise ValueError(f"sample {sample.stem} has no annotation")
    return Truth(semantic, instances, panoptic, image.dropped)


class _Image:
    """Checks and derivations on one image."""

    def __init__(self, sample: Sample, height: int, width: int, categories: Sequence[Category]) -> None:
        self.height, self.width = height, width
        self.categories = {c.id: c for c in categories}
        self.where = sample.where
        self.dropped = 0
        self.rles: list[masks.RLE] = []
        """Of the result of `instances`."""

    def fail(self, what: str, remedy: str) -> NoReturn:
        raise SegbenchError(what, where=self.where, remedy=remedy)

    def check_map(self, array: np.ndarray, kind: str) -> np.ndarray:
        if array.dtype.kind not in "iu" or array.ndim != 2:
            raise ValueError(f"{kind} map of type {array.dtype}, shape {array.shape}")
        if array.shape != (self.height, self.width):
            raise ValueError(f"{kind} map of shape {array.shape}, image of {self.height, self.width}")
        return array.astype(np.int32)

    def category(self, annotation: dict[str, Any]) -> Category:
        number = annotation.get("category_id")
        if number not in self.categories:
            self.fail(
                f"category {number!r} is not in the class list (1 to {len(self.categories)})",
                "fix the annotation, or add the class to the dataset's classes",
            )
        return self.categories[number]

    def thing(self, annotation: dict[str, Any]) -> Category:
        category = self.category(annotation)
        if not category.isthing:
            raise ValueError(f"object of the class '{category.name}', which is not a thing")
        return category

    def semantic(self, ids: np.ndarray, lowest: int) -> np.ndarray:
        ids = self.check_map(ids, "semantic")
        wrong = (ids != -1) & ((ids < lowest) | (ids > len(self.categories)))
        if wrong.any():
            y, x = np.argwhere(wrong)[0]
            self.fail(
                f"label {ids[y, x]} at x={x}, y={y} is not in the class list "
                f"({lowest} to {len(self.categories)}, {np.count_nonzero(wrong)} such pixels)",
                "fix the mask, or add the class to the dataset's classes",
            )
        return ids

    def overlapping(self, values: np.ndarray) -> np.ndarray:
        values = self.check_map(values, "semantic")
        if values.min() < -1 or values.max() >= 2 ** len(self.categories):
            raise ValueError(f"map of {len(self.categories)} overlapping classes with {values.max()}")
        return values

    def panoptic(
        self, ids: np.ndarray, info: list[dict[str, Any]]
    ) -> tuple[np.ndarray, list[dict[str, Any]]]:
        ids = self.check_map(ids, "panoptic")
        found, inverse = _compact(ids)
        extents = dict(zip(found.tolist(), ndimage.find_objects(inverse + 1)))
        counts = dict(zip(found.tolist(), np.bincount(inverse.ravel()).tolist()))
        if unknown := set(counts) - {0} - {s["id"] for s in info}:
            self.fail(
                f"segment id {min(unknown)} of the panoptic mask is not listed in its segments_info",
                "fix the mask or its JSON entry",
            )
        if len({s["id"] for s in info} - {0}) < len(info):
            self.fail("segments_info lists a segment id twice, or 0", "fix the JSON entry")
        segments = []
        for segment in info:
            category = self.category(segment)
            if segment["id"] not in counts:
                self.dropped += 1
                continue
            y, x = extents[segment["id"]]
            segments.append(
                {
                    "id": segment["id"],
                    "category_id": category.id,
                    "iscrowd": int(segment.get("iscrowd", 0)),
                    "area": counts[segment["id"]],
                    "bbox": [x.start, y.start, x.stop - x.start, y.stop - y.start],
                }
            )
        return ids, segments

    def classes_of(self, ids: np.ndarray, segments: list[dict[str, Any]]) -> np.ndarray:
        found, inverse = _compact(ids)
        category_of = {s["id"]: s["category_id"] for s in segments}
        table = np.array([category_of.get(k, -1) for k in found.tolist()], np.int32)
        return table[inverse]

    def things(self, ids: np.ndarray, segments: list[dict[str, Any]]) -> list[dict[str, Any]]:
        things = {s["id"]: s["category_id"] for s in segments if self.categories[s["category_id"]].isthing}
        return masks.objects_of_map(ids, things, crowd={s["id"] for s in segments if s["iscrowd"]})

    def instances(self, annotations: list[dict[str, Any]]) -> list[dict[str, Any]]:
        objects = []
        outside: list[str] = []
        for number, annotation in enumerate(annotations, 1):
            category = self.thing(annotation)
            try:
                segmentation = masks.standardise(annotation.get("segmentation"), self.height, self.width)
            except ValueError as error:
                self.fail(f"object {number} ({category.name}): {error}", "fix the annotation or remove it")
            rle = masks.to_rle(segmentation, self.height, self.width)
            if not (area := masks.area(rle)):
                if place := masks.outside(segmentation, self.height, self.width):
                    outside.append(f"object {number} ({category.name}, {place})")
                self.dropped += 1
                continue
            self.rles.append(rle)
            objects.append(
                {
                    "category_id": category.id,
                    "iscrowd": int(annotation.get("iscrowd", 0)),
                    "area": annotation.get("area", area),
                    "bbox": annotation.get("bbox") or masks.bbox(rle),
                    "segmentation": segmentation,
                }
            )
        if outside:
            listed = ", ".join(outside[:5]) + (f" and {len(outside) - 5} more" if len(outside) > 5 else "")
            self.fail(
                f"outside of the image ({self.width}x{self.height} pixels): {listed}",
                "check that this is the annotated image, in the same orientation; or remove the objects",
            )
        return objects

    def painted(self, objects: list[dict[str, Any]]) -> np.ndarray:
        """Paint the result of `instances`."""
        semantic = np.zeros((self.height, self.width), np.int32, order="F")
        painted = [*zip(self.rles, masks.areas(self.rles).tolist(), objects, strict=True)]
        painted.sort(key=lambda one: (not one[2]["iscrowd"], -one[1]))
        values = [-1 if found["iscrowd"] else found["category_id"] for _, _, found in painted]
        masks.paint(semantic, [rle for rle, _, _ in painted], values)
        return semantic


def _compact(ids: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the sorted values of a map, and the map of their indices. Faster than `return_inverse`."""
    found = np.unique(ids)
    return found, np.searchsorted(found, ids)
