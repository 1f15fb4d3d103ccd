"""Masks that were predicted inside boxes, pasted into the image."""

from __future__ import annotations

import torch
from torch import Tensor
from torchvision.models.detection.roi_heads import paste_masks_in_image

from segbench.contract.prediction import Instances

PASTE_PIXELS = 2**24
"""Maximum number of mask pixels pasted at once (64 MiB in float32)."""


def instances(found: dict[str, Tensor], fed: tuple[int, int], size: tuple[int, int]) -> Instances:
    """Convert detections to objects at the size of the original image.

    Args:
        found: `boxes` N x 4 in pixels of the network's input, `labels` N from 1, `scores` N, and optionally
            `masks` N x 1 x R x R, probabilities inside the boxes.
        fed: height and width of the network's input.
        size: height and width of the original image.
    """
    factor = found["boxes"].new_tensor([size[1] / fed[1], size[0] / fed[0]])
    boxes = found["boxes"] * factor.repeat(2)
    masks = paste(found["masks"], boxes, size) if "masks" in found else None
    return Instances(found["scores"], found["labels"] - 1, masks, boxes)


def paste(masks: Tensor, boxes: Tensor, size: tuple[int, int]) -> Tensor:
    """Paste N x 1 x R x R probabilities inside N x 4 boxes into N x H x W bool masks, in chunks."""
    chunk = max(1, PASTE_PIXELS // (size[0] * size[1]))
    pasted = [
        paste_masks_in_image(m, b, size)[:, 0] > 0.5 for m, b in zip(masks.split(chunk), boxes.split(chunk))
    ]
    return torch.cat(pasted)
