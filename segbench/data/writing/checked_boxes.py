"""Check the boxes of an image whose objects have no masks."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from segbench.contract.view import Category
from segbench.data.coco import checks
from segbench.errors import SegbenchError

LISTED = 5
"""Number of boxes that a message lists."""


@dataclass
class Boxes:
    """The checked boxes of an image."""

    objects: list[dict[str, Any]] = field(default_factory=list)
    """COCO annotations without ids and masks. Their boxes lie in the image."""
    dropped: int = 0
    """Number of boxes without an area, which were dropped."""
    clipped: int = 0
    """Number of boxes that were clipped by a pixel or more."""


def checked_boxes(
    annotations: Sequence[dict[str, Any]],
    height: int,
    width: int,
    category_of: Callable[[dict[str, Any]], Category],
    where: Path | str,
) -> Boxes:
    """Check boxes, and clip them to the image.

    Args:
        annotations: COCO annotations with `category_id` and `bbox`; `iscrowd` and `area` are optional.
        height, width: size of the image.
        category_of: returns the class of an annotation.
        where: what messages name.

    Raises:
        SegbenchError: boxes are not valid, or lie outside of the image. It lists them.
    """
    result = Boxes()
    faults = []
    for number, annotation in enumerate(annotations, 1):
        category = category_of(annotation)
        try:
            box = clipped(annotation.get("bbox"), height, width)
        except ValueError as error:
            faults.append(f"object {number} ({category.name}): {error}")
            continue
        if not (area := box[2] * box[3]):
            result.dropped += 1
            continue
        result.clipped += max(abs(a - b) for a, b in zip(box, annotation["bbox"])) >= 1
        stated, crowd = annotation.get("area"), int(annotation.get("iscrowd", 0))
        if isinstance(stated, int | float) and 0 < stated <= height * width:  # of a mask
            area = stated
        result.objects.append({"category_id": category.id, "iscrowd": crowd, "area": area, "bbox": box})
    if faults:
        listed = "; ".join(faults[:LISTED]) + (f"; and {len(faults) - LISTED} more" * (len(faults) > LISTED))
        raise SegbenchError(
            listed,
            where=where,
            remedy="check that this is the annotated image, in the same orientation; or correct the boxes",
        )
    return result


def clipped(box: Any, height: int, width: int) -> list[float]:
    """Return the part of a box (x, y, width, height) that lies in an image of `height` x `width` pixels.

    Raises:
        ValueError: the box is not four numbers, lies outside of the image, or reaches as far out of it as
            the image is wide or high. The message says which.
    """
    if not isinstance(box, list | tuple) or len(box) != 4:
        raise ValueError(f"its box {box!r:.80} is not four numbers, [x, y, width, height]")
    checks.check_finite(box, f"its box {list(box)}")
    spans = []
    for start, length, limit in zip(box[:2], box[2:], (width, height)):
        if length < 0:
            raise ValueError(f"its box {list(box)} has a negative width or height")
        end = start + length
        if end < 0 or start > limit or start < -limit or end > 2 * limit:
            raise ValueError(
                f"its box {list(box)} (x, y, width, height) is outside of {width}x{height} pixels"
            )
        first = min(max(start, 0), limit)
        fits = start >= 0 and end <= limit
        spans.append((first, length if fits else min(end, limit) - first))
    return [spans[0][0], spans[1][0], spans[0][1], spans[1][1]]
