"""Masks that were predicted inside boxes, pasted into the image."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from segbench.contract.prediction import Instances

STRIP = 2**22
"""Maximum number of mask pixels that are computed at once (16 MiB in float32), but at least one row."""


def instances(found: dict[str, Tensor], fed: tuple[int, int], size: tuple[int, int]) -> Instances:
    """Convert detections to objects at the size of the original image.

    Args:
        found: `boxes` N x 4 in pixels of the network's input, `labels` N from 1, `scores` N, and optionally
            `masks` N x 1 x R x R, probabilities inside the boxes.
        fed: height and width of the network's input.
        size: height and width of the original image.
    """
    x, y = found["boxes"][:, 0::2] * (size[1] / fed[1]), found["boxes"][:, 1::2] * (size[0] / fed[0])
    boxes = torch.stack([x, y], 2).flatten(1)
    masks = paste(found["masks"], boxes, size) if "masks" in found else None
    return Instances(found["scores"], found["labels"] - 1, masks, boxes)


def paste(masks: Tensor, boxes: Tensor, size: tuple[int, int]) -> Tensor:
    """Paste probabilities that were predicted inside boxes into the image.

    Equal to torchvision's `paste_masks_in_image`, which pastes box by box, except where a probability is
    within 1e-5 of 0.5. Each mask is resized bilinearly: a product of its cells with weights of rows and
    columns. Strips of rows bound the memory.

    Args:
        masks: N x 1 x R x R, in 0..1.
        boxes: N x 4 (x0, y0, x1, y1) in pixels of the image.
        size: height and width of the image.

    Returns:
        N x H x W bool: where the probability is above 0.5.
    """
    cells = F.pad(masks[:, 0].float(), (1, 1, 1, 1))  # as in Mask R-CNN's code: a border of one empty cell,
    count = cells.shape[-1]
    centre, half = (boxes[:, 2:] + boxes[:, :2]) * 0.5, (boxes[:, 2:] - boxes[:, :2]) * 0.5
    half = half * (count / masks.shape[-1])  # by which the box grows, too
    start, end = (centre - half).long(), (centre + half).long()
    pasted = torch.empty(len(cells), *size, dtype=torch.bool, device=masks.device)
    with torch.autocast(masks.device.type, enabled=False):
        across = cells @ _weights(start[:, 0], end[:, 0], 0, size[1], count).mT
        rows = max(1, STRIP // (max(1, len(cells)) * size[1]))
        for top in range(0, size[0], rows):
            strip = pasted[:, top : top + rows]
            down = _weights(start[:, 1], end[:, 1], top, strip.shape[1], count)
            strip.copy_(down @ across > 0.5)
    return pasted


def _weights(start: Tensor, end: Tensor, first: int, length: int, cells: int) -> Tensor:
    """Weights of the cells of N boxes in the pixels `first`, `first` + 1, ... of an axis: N x length x cells.

    start, end: first and last pixel of each box. Pixels outside of a box have no weight.
    """
    pixel = torch.arange(first, first + length, device=start.device) - start[:, None]
    extent = (end - start + 1).clamp(min=1)[:, None]
    inside = (pixel >= 0) & (pixel < extent)
    place = ((pixel + 0.5) * (cells / extent) - 0.5).clamp(0, cells - 1)
    weights = 1 - (place[..., None] - torch.arange(cells, device=start.device)).abs()
    return weights.clamp(min=0) * inside[..., None]
