"""Multi-scale deformable attention in plain PyTorch (Zhu et al. 2021, Deformable DETR, arXiv 2010.04159)."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

Shapes = list[tuple[int, int]]
"""Height and width of each level, in the order in which their pixels are concatenated."""


def reference_points(shapes: Shapes, device: torch.device) -> Tensor:
    """Compute the centre of every pixel of every level, (x, y) in 0..1: sum(height x width) x 2."""
    centres = []
    for height, width in shapes:
        y = (torch.arange(height, device=device) + 0.5) / height
        x = (torch.arange(width, device=device) + 0.5) / width
        centres.append(torch.stack(torch.meshgrid(y, x, indexing="ij")[::-1], dim=-1).flatten(0, 1))
    return torch.cat(centres)


class DeformableAttention(nn.Module):
    """Attention in which each query reads `points` places per level and head.

    Their offsets from the reference point of the query are predicted.
    """

    def __init__(self, channels: int, heads: int = 8, levels: int = 3, points: int = 4) -> None:
        super().__init__()
        self.heads, self.levels, self.points = heads, levels, points
        self.sampling_offsets = nn.Linear(channels, heads * levels * points * 2)
        self.attention_weights = nn.Linear(channels, heads * levels * points)
        self.value_proj = nn.Linear(channels, channels)
        self.output_proj = nn.Linear(channels, channels)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Head h starts by looking in direction 2 pi h / heads, its points 1, 2, ... pixels away."""
        angle = torch.arange(self.heads) * (2 * math.pi / self.heads)
        direction = torch.stack([angle.cos(), angle.sin()], dim=-1)
        direction = direction / direction.abs().amax(-1, keepdim=True)
        steps = torch.arange(1, self.points + 1)
        offsets = direction[:, None, None] * steps[:, None]
        nn.init.zeros_(self.sampling_offsets.weight)
        with torch.no_grad():
            self.sampling_offsets.bias.copy_(offsets.expand(-1, self.levels, -1, -1).flatten())
        nn.init.zeros_(self.attention_weights.weight)
        nn.init.zeros_(self.attention_weights.bias)
        for projection in (self.value_proj, self.output_proj):
            nn.init.xavier_uniform_(projection.weight)
            nn.init.zeros_(projection.bias)

    def forward(self, query: Tensor, value: Tensor, reference: Tensor, shapes: Shapes) -> Tensor:
        """query B x N x C, value B x S x C (all pixels of all levels), reference N x 2 -> B x N x C.

        Sampling runs in float32, also under autocast.
        """
        batch, count, _ = query.shape
        split = (batch, count, self.heads, self.levels, self.points, 2)
        offsets = self.sampling_offsets(query).float().view(split)
        # (B x heads) x levels x points x N: rows of N are long, rows of points would be slow
        weights = self.attention_weights(query).float().mT.reshape(batch * self.heads, -1, count).softmax(1)
        weights = weights.unflatten(1, (self.levels, self.points))
        # B x S x C -> (B x heads) x C / heads x S
        pixels = self.value_proj(value).float().mT.reshape(batch * self.heads, -1, value.shape[1])

        # grid_sample wants -1..1; an offset of one is one pixel of the level that it points into
        start = 2 * reference[:, None, None] - 1
        output = torch.zeros((), device=query.device)
        levels = pixels.split([h * w for h, w in shapes], dim=2)
        for i, (level, (height, width)) in enumerate(zip(levels, shapes)):
            scale = torch.full((2,), 2 / width, device=query.device)
            scale[1] = 2 / height
            grid = (start + offsets[:, :, :, i] * scale).permute(0, 2, 3, 1, 4).flatten(0, 1)
            sampled = F.grid_sample(level.unflatten(2, (height, width)), grid, align_corners=False)
            output = output + (sampled * weights[:, None, i]).sum(2)
        return self.output_proj(output.reshape(batch, -1, count).mT.to(query.dtype))
