"""Choices whose size depends on values, with few waits of the host for the device."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torchvision.ops import batched_nms, nms

MOST = 25_000
"""Number of boxes from which torchvision suppresses group by group on a GPU."""


def indices(masks: Sequence[Tensor]) -> list[Tensor]:
    """Return the ascending indices of the true values of each mask (any numbers of values, one dimension).

    The host waits once for all masks. Each `mask.nonzero()`, and each use of a mask as an index, would be a
    wait of its own.
    """
    if masks[0].device.type == "cpu":
        return [mask.nonzero()[:, 0] for mask in masks]
    counts = torch.stack([mask.sum() for mask in masks]).tolist()
    return [first(mask, count) for mask, count in zip(masks, counts)]


def first(mask: Tensor, count: int) -> Tensor:
    """Return the ascending indices of the `count` true values of a mask, without waiting."""
    return torch.nonzero_static(mask, size=count)[:, 0]


def suppressed(boxes: Tensor, scores: Tensor, groups: Tensor, overlap: float) -> Tensor:
    """Suppress boxes that overlap better ones of their group (non-maximum suppression).

    Equal to torchvision's `batched_nms`, which copies a constant to the device and waits for it.

    Args:
        boxes: N x 4 (x0, y0, x1, y1).
        scores: N.
        groups: N.
        overlap: IoU above which the worse box is suppressed.

    Returns:
        Indices of the boxes that are left, by falling score.
    """
    if boxes.device.type == "cpu" or not 0 < len(boxes) <= MOST:
        return batched_nms(boxes, scores, groups, overlap)
    apart = groups.to(boxes) * (boxes.max() + 1)  # boxes of different groups do not overlap
    return nms(boxes + apart[:, None], scores, overlap)
