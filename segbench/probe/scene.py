"""Images and truth that need no data: noise with squares in the place of objects."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from segbench.contract.prediction import Target
from segbench.contract.view import BACKGROUND, Category, Task, View
from segbench.jobs.cost.work import Pixels


def categories(classes: int, things: int) -> list[Category]:
    """Return numbered categories, of which the last `things` are things."""
    return [
        Category(id=i, name=str(i), isthing=i > classes - things, color=(i % 256, i // 256, 0))
        for i in range(1, classes + 1)
    ]


def view(task: Task, classes: int, things: int) -> View:
    """Return the view of a dataset with these categories, and a background."""
    found = categories(classes, things)
    if task == "semantic":
        return View(task, (BACKGROUND, *found))
    if task == "panoptic":
        return View(task, tuple(found))
    return View(task, tuple(c for c in found if c.isthing))


def squares(size: Pixels, objects: int, side: int) -> np.ndarray:
    """Return N x 4 corners (y0, x0, y1, x1) of squares on a grid. N <= `objects`: none hides another."""
    height, width = size
    side = max(1, min(side, height, width))
    columns = max(1, min(objects, round((objects * width / height) ** 0.5)))
    rows = max(1, -(-objects // columns))
    side = max(1, min(side, height // rows, width // columns))
    y, x = np.divmod(np.arange(objects), columns)
    top, left = y * height // rows, x * width // columns
    corners = np.stack([top, left, top + side, left + side], 1)
    return corners[(corners[:, 2] <= height) & (corners[:, 3] <= width)]


def batch(
    shown: View, channels: int, size: Pixels, images: int, objects: int, side: int
) -> tuple[Tensor, list[Target]]:
    """Return images and targets of a view.

    Args:
        shown: the view.
        channels: channels of the images.
        size: height and width.
        images: number of images.
        objects: number of squares in each.
        side: their side in pixels.

    Returns:
        B x C x H x W noise, and a target for each image.
    """
    corners = squares(size, objects, side)
    masks = torch.zeros(len(corners), *size, dtype=torch.bool)
    for mask, (top, left, bottom, right) in zip(masks, corners):
        mask[top:bottom, left:right] = True
    things = torch.tensor(shown.thing_indices or range(len(shown.classes)))
    labels = things[torch.arange(len(corners)) % len(things)]
    semantic = torch.zeros(size, dtype=torch.int64)
    for mask, label in zip(masks, labels):
        semantic[mask] = label
    boxes = torch.from_numpy(corners[:, [1, 0, 3, 2]].astype(np.float32))
    target: Target = {
        "labels": labels,
        "masks": masks,
        "boxes": boxes,
        "valid": torch.ones(size, dtype=torch.bool),
        "semantic": semantic,
        "border": torch.zeros(size),
        "image_id": 1,
    }
    return torch.randn(images, channels, *size), [target] * images


def noise(rng: np.random.Generator, size: Pixels, channels: int) -> np.ndarray:
    """Return H x W x C uint8 noise of 8 x 8 pixels, which compresses about as well as a photograph."""
    height, width = size
    coarse = rng.integers(0, 256, (-(-height // 8), -(-width // 8), channels), np.uint8)
    fine = coarse.repeat(8, 0).repeat(8, 1)[:height, :width]
    return fine + rng.integers(0, 8, fine.shape, np.uint8)
