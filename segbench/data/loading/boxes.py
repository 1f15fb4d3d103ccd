"""Boxes for training: read, moved by the transforms of the image, and clipped to what a crop shows."""

from __future__ import annotations

from itertools import takewhile
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import grid_sample
from torchvision import tv_tensors
from torchvision.ops import box_area, clip_boxes_to_image

from segbench.contract.prediction import Target
from segbench.contract.view import View
from segbench.data.coco.index import AnnotationIndex
from segbench.data.coco.jsonstream import scan
from segbench.data.dataset import ImageRecord, Split

MIN_SIZE = 1.0
"""Smallest width and height in pixels, as in torchvision's `SanitizeBoundingBoxes`."""
MIN_VISIBLE = 0.1
"""Smallest visible share of a box."""
OUTLINE_POINTS = 17
"""Points on each edge of a box that is deformed."""
INVERSE_STEPS = 10
"""Steps of the iteration that inverts a deformation."""


class BoxReader:
    """Reads the boxes of `instances.json`, without crowds, clipped to their image."""

    def __init__(self, split: Split, view: View) -> None:
        self._index_of = view.index_of
        self._annotations = AnnotationIndex(split.instances_json)
        images = takewhile(lambda entry: entry[0] == "images", scan(split.instances_json))
        self._sizes = np.array([(image["height"], image["width"]) for _, image, *_ in images])

    def __call__(self, record: ImageRecord) -> tuple[tv_tensors.BoundingBoxes, Tensor]:
        """Return the boxes (N x 4: x0, y0, x1, y1) of an image, and their class indices (N int64)."""
        height, width = self._sizes[record.id - 1].tolist()
        size = height, width
        objects = [one for one in self._annotations[record.id] if not one["iscrowd"]]
        found = torch.tensor([one["bbox"] for one in objects], dtype=torch.float64).reshape(-1, 4)
        corners = torch.cat([found[:, :2], found[:, :2] + found[:, 2:]], 1)
        boxes = clip_boxes_to_image(corners.float(), size)
        labels = torch.tensor([self._index_of[one["category_id"]] for one in objects], dtype=torch.int64)
        return tv_tensors.BoundingBoxes(boxes, format="XYXY", canvas_size=size), labels


def turned(boxes: tv_tensors.BoundingBoxes, turns: int) -> tv_tensors.BoundingBoxes:
    """Turn boxes as `torch.rot90(image, turns, (-2, -1))` turns their image."""
    corners, (height, width) = boxes.as_subclass(Tensor), boxes.canvas_size
    for _ in range(turns):
        x0, y0, x1, y1 = corners.unbind(1)
        corners = torch.stack([y0, width - x1, y1, width - x0], 1)
        height, width = width, height
    return tv_tensors.wrap(corners, like=boxes, canvas_size=(height, width))


def windowed(boxes: tv_tensors.BoundingBoxes, window: list[slice], size: list[int]) -> Any:
    """Move boxes as their image, which is cropped to `window` (rows, columns) and resized to `size`.

    Boxes are not clipped: `box_target` must know how large they were.
    """
    rows, columns = window
    start = torch.tensor([columns.start, rows.start] * 2)
    factor = torch.tensor([s / (w.stop - w.start) for s, w in zip(size[::-1], (columns, rows))] * 2)
    moved = (boxes.as_subclass(Tensor) - start) * factor
    return tv_tensors.wrap(moved, like=boxes, canvas_size=(size[0], size[1]))


def displaced(boxes: tv_tensors.BoundingBoxes, field: Tensor) -> tv_tensors.BoundingBoxes:
    """Move boxes as an image, each pixel of which is taken from where a field of displacements points.

    A box becomes the bounds of its moved outline. Where the outline goes is the inverse of the field, found
    by fixed-point iteration, which converges for fields that do not fold the image.

    Args:
        boxes: N boxes, which may reach out of the image. They are not clipped.
        field: H x W x 2, displacements along x and y in pixels.
    """
    height, width = boxes.canvas_size
    steps = torch.linspace(0, 1, OUTLINE_POINTS)
    ends = torch.stack([torch.zeros_like(steps), torch.ones_like(steps)])
    along, across = steps.expand(2, -1).flatten(), ends.flatten()
    shares = torch.cat([torch.stack([along, across], 1), torch.stack([across, along], 1)])  # P x 2
    corners = boxes.as_subclass(Tensor)
    start = corners[:, None, :2] + shares * (corners[:, 2:] - corners[:, :2])[:, None]  # N x P x 2
    # `grid_sample` without `align_corners` has the centre of pixel i at i + 0.5, as boxes have
    image, scale = field.permute(2, 0, 1)[None], torch.tensor([2 / width, 2 / height])
    points = start
    for _ in range(INVERSE_STEPS):
        moved = grid_sample(image, (points * scale - 1)[None], padding_mode="border", align_corners=False)
        points = start - moved[0].permute(1, 2, 0)
    bounds = torch.cat([points.amin(1), points.amax(1)], 1)
    return tv_tensors.wrap(bounds, like=boxes)


def box_target(boxes: tv_tensors.BoundingBoxes, labels: Tensor, image_id: int) -> Target:
    """Build the `Target` of an image: boxes are clipped to it, and those that are hardly visible dropped.

    A box must keep a tenth of its area, or cover a tenth of the image if that is less: one that is larger
    than the crop counts.

    Args:
        boxes: N boxes, which may reach out of the image.
        labels: N int64, class index of each.
        image_id: id of the image in its split.
    """
    height, width = boxes.canvas_size
    whole = boxes.as_subclass(Tensor)
    clipped = clip_boxes_to_image(whole, (height, width))
    enough = MIN_VISIBLE * box_area(whole).clamp(max=height * width)
    keep = ((clipped[:, 2:] - clipped[:, :2]) >= MIN_SIZE).all(1) & (box_area(clipped) >= enough)
    return {"image_id": image_id, "labels": labels[keep], "boxes": clipped[keep]}
