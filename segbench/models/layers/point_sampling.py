"""Masks at a set of points instead of at every pixel (PointRend, Kirillov et al. 2020, arXiv 1912.08193).

Points are N x P x 2, (x, y) as fractions of the map's width and height: maps of any resolution share them.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F


def sample_points(maps: Tensor, points: Tensor) -> Tensor:
    """Bilinear values of N x C x H x W maps at N x P x 2 points -> N x C x P; outside of the map is 0."""
    return F.grid_sample(maps, 2 * points[:, None] - 1, mode="bilinear", align_corners=False)[:, :, 0]


def lookup(maps: Tensor, index: Tensor, points: Tensor) -> Tensor:
    """Value of the pixel under each point: B x H x W maps, N indices into B, N x P x 2 points -> N x P."""
    height, width = maps.shape[-2:]
    x = (points[..., 0] * width).int().clamp(0, width - 1)
    y = (points[..., 1] * height).int().clamp(0, height - 1)
    return maps.take((index[:, None] * height + y) * width + x)


@torch.no_grad()
def uncertain_points(
    logits: Tensor, valid: Tensor, index: Tensor, count: int, oversample: float, importance: float
) -> Tensor:
    """Training points of N x 1 x h x w mask logits -> N x `count` x 2.

    Of `count` x `oversample` uniform points the share `importance` of `count` with the logits nearest to 0 is
    taken, void ones last (`valid` B x H x W bool, `index` N the image of each mask); the rest is uniform.
    """
    rows, uncertain = len(logits), int(importance * count)
    points = torch.rand(rows, int(count * oversample), 2, device=logits.device)
    distance = sample_points(logits, points)[:, 0].abs()
    distance.masked_fill_(~lookup(valid, index, points), torch.inf)
    nearest = distance.topk(uncertain, dim=1, largest=False, sorted=False).indices
    chosen = points.gather(1, nearest[..., None].expand(-1, -1, 2))
    return torch.cat([chosen, torch.rand(rows, count - uncertain, 2, device=logits.device)], dim=1)
