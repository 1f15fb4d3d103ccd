"""The pixel decoder: deformable attention over strides 32, 16 and 8, then an FPN step to stride 4."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from segbench.models.deformable_attention import DeformableAttention, Shapes, reference_points
from segbench.models.position import sine_position

GROUPS = 32
"""Groups of every GroupNorm."""


class EncoderLayer(nn.Module):
    def __init__(self, channels: int, heads: int, levels: int, feedforward: int) -> None:
        super().__init__()
        self.attention = DeformableAttention(channels, heads, levels)
        self.attention_norm = nn.LayerNorm(channels)
        self.feedforward = nn.Sequential(
            nn.Linear(channels, feedforward), nn.ReLU(), nn.Linear(feedforward, channels)
        )
        self.feedforward_norm = nn.LayerNorm(channels)
        for linear in (self.feedforward[0], self.feedforward[2]):
            nn.init.xavier_uniform_(linear.weight)

    def forward(self, pixels: Tensor, position: Tensor, reference: Tensor, shapes: Shapes) -> Tensor:
        pixels = self.attention_norm(pixels + self.attention(pixels + position, pixels, reference, shapes))
        return self.feedforward_norm(pixels + self.feedforward(pixels))


class PixelDecoder(nn.Module):
    """Features of strides 4, 8, 16, 32 (`in_channels` in this order) -> all with `channels` channels."""

    def __init__(
        self, in_channels: Sequence[int], channels: int, heads: int, layers: int, feedforward: int
    ) -> None:
        super().__init__()
        self.projections = nn.ModuleList(
            nn.Sequential(nn.Conv2d(n, channels, 1), nn.GroupNorm(GROUPS, channels))
            for n in in_channels[:0:-1]
        )
        levels = len(self.projections)
        self.level_embedding = nn.Parameter(torch.randn(levels, channels))
        self.layers = nn.ModuleList(EncoderLayer(channels, heads, levels, feedforward) for _ in range(layers))
        self.lateral = nn.Sequential(
            nn.Conv2d(in_channels[0], channels, 1, bias=False), nn.GroupNorm(GROUPS, channels)
        )
        self.output = nn.Sequential(
            nn.Conv2d(channels, channels, 3, padding=1, bias=False), nn.GroupNorm(GROUPS, channels), nn.ReLU()
        )
        self.mask_projection = nn.Conv2d(channels, channels, 1)
        for projection in self.projections:
            nn.init.xavier_uniform_(projection[0].weight)
            nn.init.zeros_(projection[0].bias)
        for convolution in (self.lateral[0], self.output[0], self.mask_projection):
            nn.init.kaiming_uniform_(convolution.weight, a=1)  # "Xavier" of Caffe2
        nn.init.zeros_(self.mask_projection.bias)

    def forward(self, features: Sequence[Tensor]) -> tuple[Tensor, list[Tensor]]:
        """-> mask features (stride 4), and the refined levels of stride 32, 16, 8."""
        levels = [project(level) for project, level in zip(self.projections, features[:0:-1])]
        shapes = [(level.shape[2], level.shape[3]) for level in levels]
        position = torch.cat(
            [
                sine_position(*shape, level.shape[1], level.device).flatten(2).mT + embedding
                for shape, level, embedding in zip(shapes, levels, self.level_embedding)
            ],
            dim=1,
        )
        reference = reference_points(shapes, levels[0].device)
        pixels = torch.cat([level.flatten(2).mT for level in levels], dim=1)
        for layer in self.layers:
            pixels = layer(pixels, position, reference, shapes)
        refined = [
            level.mT.unflatten(2, shape)
            for level, shape in zip(pixels.split([h * w for h, w in shapes], dim=1), shapes)
        ]
        lateral = self.lateral(features[0])
        upsampled = F.interpolate(refined[-1], size=lateral.shape[-2:], mode="bilinear", align_corners=False)
        return self.mask_projection(self.output(lateral + upsampled)), refined
