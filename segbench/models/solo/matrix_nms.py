"""Matrix NMS: Wang et al. 2020, SOLOv2 (2003.10152), section 3.4."""

from __future__ import annotations

import torch
from torch import Tensor


def matrix_nms(masks: Tensor, labels: Tensor, scores: Tensor, sigma: float) -> Tensor:
    """Reduce the scores of masks that overlap better masks of the same class, with the Gaussian kernel.

    Args:
        masks: N x h x w bool, none of them empty.
        labels: N.
        scores: N, in descending order.
        sigma: sigma of the kernel; a larger one suppresses more.

    Returns:
        N reduced scores, in the order of the masks.
    """
    if not len(scores):
        return scores
    flat = masks.flatten(1).float()
    with torch.autocast(masks.device.type, enabled=False):  # bf16 cannot represent areas
        both, area = flat @ flat.T, flat.sum(1)
    same = labels[:, None] == labels
    iou = (both / (area[:, None] + area - both) * same).triu(1)
    suppressed = iou.max(0).values[:, None]  # largest overlap of each mask with a better one
    return scores * torch.exp(sigma * (suppressed**2 - iou**2)).min(0).values
