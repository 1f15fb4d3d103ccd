"""Read COCO's detection format: annotations and results."""

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
from segbench.data.coco.jsonstream import scan_results
from segbench.data.coco.masks import areas as areas_of
from segbench.data.coco.masks import has_outline, pixels, standardise, to_rle
from segbench.errors import SegbenchError
from segbench.evaluation.annotations import Objects
from segbench.files import read_json

log = logging.getLogger(__name__)


@dataclass
class InstanceFile:
    """Objects of a file by the id of their image."""

    path: Path
    by_image: dict[int, list[dict[str, Any]]]
    masks: bool
    """Whether objects are read with their masks, or as boxes only."""
    results: bool = False
    """Whether the objects are detections. Their area is computed; an `area` in the file is ignored."""
    boxes_decide: bool = False
    """Whether it is computed from boxes: if the file's first result has one, as in pycocotools' loadRes."""

    def objects(self, image_id: int, shape: tuple[int, int]) -> Objects:
        """Return the objects of an image. `shape` is height and width; (0, 0) if unknown."""
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
        return Objects(class_ids, masks if self.masks else [], boxes, areas, scores, crowd)

    def plain(self, shapes: Mapping[int, tuple[int, int]]) -> list[dict[str, Any]]:
        """Return all objects, reduced to the fields of COCO's format, with a `bbox` in each.

        A missing `bbox` is taken from the mask. `shapes` has height and width by image id.
        """
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
        """Return the N x 4 boxes; those of the masks where the file has no box."""
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
    """Return whether `value` is a height and a width from 1 to 32767."""
    return (
        isinstance(value, list | tuple)
        and len(value) == 2
        and all(type(n) is int and 0 < n < 2**15 for n in value)
    )


def read_truth(
    path: Path, *, masks: bool
) -> tuple[InstanceFile, dict[int, dict[str, Any]], dict[int, dict[str, Any]]]:
    """Return (annotations, images by id, categories by id) of a file of COCO annotations.

    `masks`: whether objects are read with their masks, or as boxes only.

    Raises:
        SegbenchError: the file is malformed, or an object has no outline (without `masks`: no box either).
    """
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
            "%s: annotation ids start at 0; pycocotools treats the object with id 0 as unmatched, "
            "segbench scores it like any other",
            path,
        )
    if len(set(ids)) < len(ids):
        log.warning("%s: annotation ids are not unique; the objects are scored nevertheless", path)
    return InstanceFile(path, by_image, masks), images, categories


def read_results(
    path: Path,
    images: Collection[int],
    classes: Collection[int],
    *,
    masks: bool | None,
    only: Collection[int] | None = None,
) -> tuple[InstanceFile, dict[str, Any]]:
    """Return COCO results, and the other entries of their file.

    The file holds a list of results, or an object with such a list as `annotations`.

    Args:
        path: the file.
        images: ids of the images of the truth.
        classes: category ids of the truth.
        masks: whether objects are read with their masks, or as boxes only; None: with masks if one has an
            outline.
        only: ids of the images whose results are kept, so that a large file is never held; None: all. The
            other entries of the file are not returned then.

    Raises:
        SegbenchError: the file is malformed, names unknown images or categories, or an object has no outline
            (without `masks`: no box either).
    """
    data = read_json(path) if only is None else [r for r in scan_results(path) if _is_of(r, only)]
    other = {}
    if isinstance(data, dict) and "annotations" in data:
        other = data
        data = other.pop("annotations")
    if not isinstance(data, list) or not all(isinstance(r, dict) for r in data):
        raise SegbenchError(
            "is not a list of COCO results",
            where=path,
            remedy="it is a JSON array of {image_id, category_id, score, segmentation or bbox}, "
            "or an object with such an array as `annotations`",
        )
    masks = any(map(_has_outline, data)) if masks is None else masks
    by_image = _by_image(data, "result", path, images, classes)
    scores = column(data, "result", "score", checks.number, path)
    if scores and not 0 <= min(scores) <= max(scores) <= 1:
        log.warning(
            "%s: scores range from %g to %g, not within 0 to 1; AP needs their order only, but calibration "
            "is undefined, and min_score (as for object F1) is compared with the scores as they are",
            path,
            min(scores),
            max(scores),
        )
    _check_shapes(data, "result", path, masks)
    decide = bool(data and data[0].get("bbox"))
    return InstanceFile(path, by_image, masks, results=True, boxes_decide=decide), other


def _is_of(result: Any, images: Collection[int]) -> bool:
    """Return whether a result is one of these images, or so wrong that it must be refused."""
    image_id = result.get("image_id") if isinstance(result, dict) else None
    return image_id in images if isinstance(image_id, int | float) else True


def _has_outline(item: Mapping[str, Any]) -> bool:
    return has_outline(item.get("segmentation"))


def _check_shapes(items: list[dict[str, Any]], kind: str, path: Path, masks: bool) -> None:
    """Raise unless each object has an outline or, without `masks`, a box."""
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
