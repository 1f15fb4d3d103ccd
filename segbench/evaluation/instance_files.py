"""COCO's detection format on disk: annotations and results."""

from __future__ import annotations

import logging
import math
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from pycocotools import mask as rle

from segbench.data.masks import areas as areas_of
from segbench.data.masks import standardise, to_rle
from segbench.errors import SegbenchError
from segbench.evaluation.instance import Found
from segbench.files import read_json

log = logging.getLogger(__name__)


@dataclass
class InstanceFile:
    """Objects by the id of their image."""

    path: Path
    by_image: dict[int, list[dict[str, Any]]]
    masks: bool
    """Whether objects are read with their masks, or as boxes only."""
    boxes_decide: bool = False
    """Area where none is given: the box's, as pycocotools has it for results with boxes; else the mask's."""

    def found(self, image_id: int, shape: tuple[int, int]) -> Found:
        """The objects of an image of `shape` (height, width)."""
        items = self.by_image.get(image_id, [])
        masks = [self._rle(item, shape) for item in items] if self.masks else []
        if self.masks:
            self._check_run_lengths(items, math.prod(shape))
        try:
            given = [item.get("bbox") for item in items]
            boxes = np.asarray(given if all(given) else rle.toBbox(masks), float).reshape(len(items), 4)
            areas = np.array([item.get("area", np.nan) for item in items], float)
            scores = np.array([item.get("score", 1.0) for item in items], float)
            crowd = np.array([item.get("iscrowd", 0) for item in items], float) != 0
            if not np.isfinite(boxes).all():
                raise ValueError("a bbox is not finite")
        except (TypeError, ValueError) as error:
            raise SegbenchError(
                f"image {image_id}: a bbox, area, score or iscrowd is no number ({error})",
                where=self.path,
                remedy="give bbox as [x, y, width, height] and the others as one number each",
            ) from error
        if np.isnan(areas).any():
            stated = boxes[:, 2] * boxes[:, 3] if self.boxes_decide or not masks else areas_of(masks)
            areas = np.where(np.isnan(areas), stated, areas)
        class_ids = np.array([item["category_id"] for item in items], np.int64)
        return Found(class_ids, masks, boxes, areas, scores, crowd)

    def _check_run_lengths(self, items: list[dict[str, Any]], pixels: int) -> None:
        """Masks whose lengths do not add up to their size are an error: pycocotools would read beyond."""
        packed = [i for i in items if _is_packed(i["segmentation"])]
        if not packed:
            return
        wrong = _pixels([i["segmentation"]["counts"] for i in packed]) != pixels
        if wrong.any():
            raise SegbenchError(
                f"image {packed[wrong.argmax()]['image_id']}: a mask's run lengths do not add up to its size",
                where=self.path,
                remedy="write the masks again; the file may be damaged",
            )

    def _rle(self, item: dict[str, Any], shape: tuple[int, int]) -> dict[str, Any]:
        mask: Any = item.get("segmentation")
        if type(mask) is dict and mask.get("size") == [*shape] and type(mask.get("counts")) is str:
            return mask
        image_id = item["image_id"]
        size = mask.get("size") if isinstance(mask, dict) else None
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


def read_truth(
    path: Path, *, masks: bool
) -> tuple[InstanceFile, dict[int, dict[str, Any]], list[dict[str, Any]]]:
    """(annotations, images by id, categories) of a file of COCO annotations."""
    data = read_json(path)
    try:
        images = {int(i["id"]): i for i in data["images"]}
        categories, annotations = data["categories"], data["annotations"]
        ids = [a["id"] for a in annotations]
        by_image = _by_image(annotations, path, images, {c["id"] for c in categories})
    except (TypeError, KeyError, ValueError, AttributeError) as error:
        raise SegbenchError(
            f"is not a file of COCO annotations ({error!r})",
            where=path,
            remedy="it needs images, categories and annotations with their ids",
        ) from error
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
) -> InstanceFile:
    """A list of COCO results; what it says of unknown images or categories is an error."""
    results = read_json(path)
    if not isinstance(results, list) or not all(isinstance(r, dict) for r in results):
        raise SegbenchError(
            "is not a list of COCO results",
            where=path,
            remedy="it is a JSON array of {image_id, category_id, score, segmentation or bbox}",
        )
    try:
        by_image = _by_image(results, path, images, classes)
        bad = next((r for r in results if not math.isfinite(r["score"])), None)
    except (TypeError, KeyError) as error:
        raise SegbenchError(
            f"a result lacks a field, or it is of another kind ({error!r})",
            where=path,
            remedy="each needs image_id, category_id, score, and segmentation or bbox",
        ) from error
    if bad is not None:
        raise SegbenchError(
            f"image {bad['image_id']}: score {bad['score']} is not a number",
            where=path,
            remedy="give each result a score",
        )
    lacking = next((r for r in results if ("segmentation" if masks else "bbox") not in r), None)
    if lacking is not None:
        raise SegbenchError(
            f"image {lacking['image_id']}: a result has no {'segmentation' if masks else 'bbox'}",
            where=path,
            remedy="score boxes with --boxes" if masks else "give bbox as [x, y, width, height]",
        )
    decide = bool(results and results[0].get("bbox"))
    return InstanceFile(path, by_image, masks, boxes_decide=decide)


def _by_image(
    items: list[dict[str, Any]], path: Path, images: Collection[int], classes: Collection[int]
) -> dict[int, list[dict[str, Any]]]:
    groups: dict[int, list[dict[str, Any]]] = {}
    for item in items:
        groups.setdefault(item["image_id"], []).append(item)
        if item["category_id"] not in classes:
            raise SegbenchError(
                f"image {item['image_id']}: category {item['category_id']} is not in the class list",
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


def _is_packed(mask: Any) -> bool:
    return type(mask) is dict and type(mask["counts"]) is str


def _pixels(counts: list[str]) -> np.ndarray:
    """Sum of the run lengths of each mask, which pycocotools trusts; -1 where the last is cut off.

    A length takes 5 bits a character, lowest first, and bit 6 says that more follow; from the fourth length
    on it is the difference to the one before the last, so that it counts for every second one after it.
    """
    texts = [c.encode() or b" " for c in counts]  # a blank is a length that is cut off
    stops = np.cumsum([len(t) for t in texts])
    char = np.frombuffer(b"".join(texts), np.uint8) - np.uint8(48)
    last = (char & 0x20) == 0
    last[stops - 1] = True
    ends = np.flatnonzero(last)
    lengths = np.diff(ends, prepend=-1)
    value = np.where(char[ends] & 0x10, -1 << 5, 0)
    for k in range(min(int(lengths.max()), _LONGEST)):  # from the last character on
        more = np.flatnonzero(lengths > k) if k else slice(None)
        value[more] = (value[more] << 5 if k else value) + (char[ends[more] - k] & 0x1F)
    edges = np.searchsorted(ends, np.append(0, stops))
    number = np.diff(edges)
    place = np.arange(len(value)) - np.repeat(edges[:-1], number)
    times = np.where(place == 0, 1, (np.repeat(number, number) - place + 1) // 2)
    whole = (char[stops - 1] & 0x20 == 0) & (np.maximum.reduceat(lengths, edges[:-1]) <= _LONGEST)
    return np.where(whole, np.add.reduceat(value * times, edges[:-1]), -1)


_LONGEST = 7
"""Characters of a length: with more it would be beyond any image."""
