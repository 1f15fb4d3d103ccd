"""Masks that were predicted inside boxes, pasted into the image."""

from __future__ import annotations

import torch
from torch import Tensor
from torchvision.models.detection.roi_heads import paste_masks_in_image

from segbench.models.network import Instances

PASTE_PIXELS = 2**24
"""Most pixels of masks that are pasted at once (64 MiB in float32)."""


def instances(found: dict[str, Tensor], fed: tuple[int, int], size: tuple[int, int]) -> Instances:
    """Detections of an image that was fed at the size `fed`, as objects of one of `size`."""
    factor = found["boxes"].new_tensor([size[1] / fed[1], size[0] / fed[0]])
    boxes = found["boxes"] * factor.repeat(2)
    masks = paste(found["masks"], boxes, size) if "masks" in found else None
    return Instances(found["scores"], found["labels"] - 1, masks, boxes)


def paste(masks: Tensor, boxes: Tensor, size: tuple[int, int]) -> Tensor:
    """N x 1 x 28 x 28 probabilities inside boxes -> N x H x W bool, a bounded number at a time."""
    chunk = max(1, PASTE_PIXELS // (size[0] * size[1]))
    pasted = [
        paste_masks_in_image(m, b, size)[:, 0] > 0.5 for m, b in zip(masks.split(chunk), boxes.split(chunk))
    ]
    return torch.cat(pasted)
