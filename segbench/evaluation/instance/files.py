"""COCO's detection format on disk: annotations and results."""

from __future__ import annotations

import logging
import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
from pycocotools import mask as rle

from segbench.data.coco import checks
from segbench.data.coco.checks import column, shown
from segbench.data.coco.masks import areas as areas_of
from segbench.data.coco.masks import has_outline, pixels, standardise, to_rle
from segbench.errors import SegbenchError
from segbench.evaluation.instance.ap import Found
from segbench.files import read_json

log = logging.getLogger(__name__)


@dataclass
class InstanceFile:
    """Objects by the id of their image."""

    path: Path
    by_image: dict[int, list[dict[str, Any]]]
    masks: bool
    """Whether objects are read with their masks, or as boxes only."""
    results: bool = False
    """Whether objects are detections. These have the area of their box or mask, whatever the file says."""
    boxes_decide: bool = False
    """Which area that is: the box's where the file's first result has a box, as in pycocotools' loadRes."""

    def found(self, image_id: int, shape: tuple[int, int]) -> Found:
        """The objects of an image of `shape` (height, width); 0 x 0 where it is not known."""
        items = self.by_image.get(image_id, [])
        of_masks = self.results and not self.boxes_decide and all(map(_has_outline, items))
        masks = self._rles(items, shape) if self.masks or of_masks else []
        boxes = self._boxes(items, masks, shape)
        if self.results:
            areas = areas_of(masks) if of_masks else boxes[:, 2] * boxes[:, 3]
        else:
            areas = np.array([item.get("area") for item in items], float)
            if (lacking := np.isnan(areas)).any():
                areas[lacking] = (areas_of(masks) if masks else boxes[:, 2] * boxes[:, 3])[lacking]
        scores = np.array([item.get("score", 1.0) for item in items], float)
        crowd = np.array([not self.results and bool(item.get("iscrowd")) for item in items], bool)
        class_ids = np.array([item["category_id"] for item in items], np.int64)
        return Found(class_ids, masks if self.masks else [], boxes, areas, scores, crowd)

    def plain(self, shapes: Mapping[int, tuple[int, int]]) -> list[dict[str, Any]]:
        """All objects with the fields of their format only; boxes that the file lacks are their masks'."""
        found: list[dict[str, Any]] = []
        for image_id, items in self.by_image.items():
            boxes = self._boxes(items, [], shapes[image_id]).tolist()
            for item, box in zip(items, boxes):
                entry = {"id": len(found) + 1, "image_id": image_id, "category_id": int(item["category_id"])}
                entry |= {"bbox": box, "iscrowd": int(not self.results and bool(item.get("iscrowd")))}
                optional = ("segmentation", "score") if self.results else ("segmentation", "area")
                found.append(entry | {key: item[key] for key in optional if item.get(key) is not None})
        return found

    def _boxes(
        self, items: list[dict[str, Any]], masks: list[dict[str, Any]], shape: tuple[int, int]
    ) -> np.ndarray:
        """N x 4; the bounds of the mask where the file gives no box."""
        given: list[Any] = [item.get("bbox") for item in items]
        lacking = [k for k, box in enumerate(given) if not box]
        if lacking:
            outlines = (
                [masks[k] for k in lacking] if masks else self._rles([items[k] for k in lacking], shape)
            )
            for k, box in zip(lacking, rle.toBbox(outlines).tolist()):
                given[k] = box
        try:
            if not all(isinstance(box, list) and len(box) == 4 for box in given):
                raise ValueError("a bbox is not a list of four numbers")
            checks.check_finite([*chain.from_iterable(given)], "a bbox")
            boxes = np.asarray(given, float).reshape(len(items), 4)
            if (boxes[:, 2:] < 0).any():
                raise ValueError("a bbox has a negative width or height")
        except ValueError as error:
            raise SegbenchError(
                f"image {items[0]['image_id']}: {error}",
                where=self.path,
                remedy="give bbox as four numbers, [x, y, width, height]",
            ) from error
        return boxes

    def _rles(self, items: list[dict[str, Any]], shape: tuple[int, int]) -> list[dict[str, Any]]:
        masks = [self._rle(item, shape) for item in items]
        packed = [k for k, item in enumerate(items) if masks[k] is item["segmentation"]]
        if packed:
            size = math.prod(shape)
            counts = [items[k]["segmentation"]["counts"].encode() for k in packed]
            if (wrong := pixels(counts) != size).any():  # pycocotools would read beyond the mask
                raise SegbenchError(
                    f"image {items[packed[wrong.argmax()]]['image_id']}: "
                    "a mask's run lengths do not add up to its size",
                    where=self.path,
                    remedy="write the masks again; the file may be damaged",
                )
        return masks

    def _rle(self, item: dict[str, Any], shape: tuple[int, int]) -> dict[str, Any]:
        mask: Any = item.get("segmentation")
        if type(mask) is dict and mask.get("size") == [*shape] and type(mask.get("counts")) is str:
            return mask
        image_id = item["image_id"]
        size: Any = mask.get("size") if isinstance(mask, dict) else None
        if not all(shape) and not self.masks and is_size(size):
            shape = size[0], size[1]  # a box needs no image
        if not all(shape):
            raise SegbenchError(
                f"image {image_id}: no bbox, and no height and width in the truth to take it from a mask",
                where=self.path,
                remedy="give each object a bbox, or each image of the truth its height and width",
            )
        if isinstance(size, list) and len(size) == 2 and size != [*shape]:
            raise SegbenchError(
                f"image {image_id}: a mask is {size[1]}x{size[0]} (width x height), "
                f"its image {shape[1]}x{shape[0]}",
                where=self.path,
                remedy="give masks at the image's own size",
            )
        try:
            return to_rle(standardise(mask, *shape), *shape)
        except ValueError as error:
            raise SegbenchError(
                f"image {image_id}: a segmentation is neither polygons nor RLE ({error})",
                where=self.path,
                remedy="give [[x, y, ...], ...] or {size, counts}, or score boxes",
            ) from error


def is_size(value: Any) -> bool:
    """Whether it is height and width, of less than 32768 pixels each."""
    return (
        isinstance(value, list | tuple)
        and len(value) == 2
        and all(type(n) is int and 0 < n < 2**15 for n in value)
    )


def read_truth(
    path: Path, *, masks: bool
) -> tuple[InstanceFile, dict[int, dict[str, Any]], dict[int, dict[str, Any]]]:
    """(annotations, images by id, categories by id) of a file of COCO annotations."""
    data = read_json(path)
    if not isinstance(data, dict) or not {"images", "categories", "annotations"} <= data.keys():
        raise SegbenchError(
            "is not a file of COCO annotations",
            where=path,
            remedy="it needs images, categories and annotations with their ids",
        )
    images = checks.listed(checks.records(data["images"], "images", path), "image", "file_name", path)
    categories = checks.categories(data["categories"], path)
    annotations = checks.records(data["annotations"], "annotations", path)
    ids = column(annotations, "annotation", "id", checks.whole, path)
    by_image = _by_image(annotations, "annotation", path, images, categories)
    column(annotations, "annotation", "iscrowd", checks.flag, path)
    stated = [a for a in annotations if a.get("area") is not None]
    column(stated, "annotation", "area", checks.number, path)
    _check_shapes(annotations, "annotation", path, masks)
    if 0 in ids:
        log.warning(
            "%s: annotation ids count from 0; pycocotools takes the object with id 0 for unmatched, "
            "here it is scored like any other",
            path,
        )
    if len(set(ids)) < len(ids):
        log.warning("%s: annotation ids are not unique; objects are scored all the same", path)
    return InstanceFile(path, by_image, masks), images, categories


def read_results(
    path: Path, images: Collection[int], classes: Collection[int], *, masks: bool
) -> tuple[InstanceFile, dict[str, Any]]:
    """COCO results, a list or an object with `annotations`; and what else that object holds.

    What they say of unknown images or categories is an error.
    """
    data = read_json(path)
    beside = {}
    if isinstance(data, dict) and "annotations" in data:
        beside = data
        data = beside.pop("annotations")
    if not isinstance(data, list) or not all(isinstance(r, dict) for r in data):
        raise SegbenchError(
            "is not a list of COCO results",
            where=path,
            remedy="it is a JSON array of {image_id, category_id, score, segmentation or bbox}, "
            "or an object with such an array as `annotations`",
        )
    by_image = _by_image(data, "result", path, images, classes)
    scores = column(data, "result", "score", checks.number, path)
    if scores and not 0 <= min(scores) <= max(scores) <= 1:
        log.warning(
            "%s: scores reach from %g to %g; AP only needs their order, but calibration is undefined, and a "
            "limit on the score, as for object F1, is compared with them as they are",
            path,
            min(scores),
            max(scores),
        )
    _check_shapes(data, "result", path, masks)
    decide = bool(data and data[0].get("bbox"))
    return InstanceFile(path, by_image, masks, results=True, boxes_decide=decide), beside


def _has_outline(item: Mapping[str, Any]) -> bool:
    return has_outline(item.get("segmentation"))


def _check_shapes(items: list[dict[str, Any]], kind: str, path: Path, masks: bool) -> None:
    """Each object has an outline, or for boxes at least a box."""
    lacking = [
        (place, item)
        for place, item in enumerate(items, 1)
        if not _has_outline(item) and (masks or not item.get("bbox"))
    ]
    if not lacking:
        return
    place, item = lacking[0]
    boxes = all(i.get("bbox") for _, i in lacking)
    raise SegbenchError(
        f"{len(lacking)} of {len(items)} objects have no {'outline' if masks else 'bbox and no outline'}, "
        f"first {kind} {place} of image {item['image_id']} "
        f"(segmentation: {shown(item.get('segmentation'))})",
        where=path,
        remedy="score boxes with --boxes, or outline these objects"
        if masks and boxes
        else "give each a bbox [x, y, width, height] or an outline of at least three points",
    )


def _by_image(
    items: list[dict[str, Any]], kind: str, path: Path, images: Collection[int], classes: Collection[int]
) -> dict[int, list[dict[str, Any]]]:
    groups: dict[int, list[dict[str, Any]]] = {}
    of_image = column(items, kind, "image_id", checks.whole, path)
    of_class = column(items, kind, "category_id", checks.whole, path)
    for image_id, item in zip(of_image, items):
        groups.setdefault(image_id, []).append(item)
    if unknown_classes := set(of_class) - set(classes):
        place = next(k for k, c in enumerate(of_class) if c in unknown_classes)
        raise SegbenchError(
            f"image {of_image[place]}: category {of_class[place]} is not in the class list",
            where=path,
            remedy=f"categories are {', '.join(map(str, sorted(classes)))}",
        )
    if unknown := groups.keys() - set(images):
        raise SegbenchError(
            f"objects of image {min(unknown)}, which the truth does not list"
            + (f" (and {len(unknown) - 1} more such images)" if len(unknown) > 1 else ""),
            where=path,
            remedy="score results on the split that they were made for",
        )
    return groups
