"""Masks at a set of points instead of at every pixel (PointRend, Kirillov et al. 2020, arXiv 1912.08193).

Points are N x P x 2, (x, y) as fractions of the map's width and height: maps of any resolution share them.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from segbench.copying import upload
from segbench.models.whole_batch import uniform


def sample_points(maps: Tensor, points: Tensor) -> Tensor:
    """Sample N x C x H x W maps bilinearly at N x P x 2 points -> N x C x P; outside of the map is 0."""
    return F.grid_sample(maps, 2 * points[:, None] - 1, mode="bilinear", align_corners=False)[:, :, 0]


def lookup(maps: Tensor, index: Tensor, points: Tensor) -> Tensor:
    """Look up the pixel under each point: B x H x W maps, N indices into B, N x P x 2 points -> N x P."""
    height, width = maps.shape[-2:]
    x = (points[..., 0] * width).int().clamp(0, width - 1)
    y = (points[..., 1] * height).int().clamp(0, height - 1)
    return maps.take((index[:, None] * height + y) * width + x)


@torch.no_grad()
def uncertain_points(
    logits: Tensor, valid: Tensor, counts: list[int], count: int, oversample: float, importance: float
) -> Tensor:
    """Draw training points of masks, most of them where the prediction is uncertain.

    Args:
        logits: N x 1 x h x w mask logits.
        valid: B x H x W bool, False on void. Void points are chosen last.
        counts: number of masks of each image; the masks are in the order of the images.
        count: number of points per mask.
        oversample: the uncertain points are chosen among `count * oversample` uniform ones.
        importance: share of the points with the logits nearest to 0, in 0..1; the rest is uniform.

    Returns:
        N x `count` x 2 points.
    """
    device, uncertain = logits.device, int(importance * count)
    index = torch.repeat_interleave(upload(counts, device), output_size=len(logits))
    points = uniform(counts, int(count * oversample), 2, device=device)
    distance = sample_points(logits, points)[:, 0].abs()
    distance.masked_fill_(~lookup(valid, index, points), torch.inf)
    nearest = distance.topk(uncertain, dim=1, largest=False, sorted=False).indices
    chosen = points.gather(1, nearest[..., None].expand(-1, -1, 2))
    return torch.cat([chosen, uniform(counts, count - uncertain, 2, device=device)], dim=1)
