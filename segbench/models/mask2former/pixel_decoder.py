"""The pixel decoder: deformable attention over strides 32, 16 and 8, then an FPN step to stride 4."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from segbench.models.layers.deformable_attention import DeformableAttention, Shapes, reference_points
from segbench.models.layers.position import sine_position

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
        for parameter in self.feedforward.parameters():
            if parameter.dim() > 1:
                nn.init.xavier_uniform_(parameter)

    def forward(self, pixels: Tensor, position: Tensor, reference: Tensor, shapes: Shapes) -> Tensor:
        attended = self.attention(pixels + position, pixels, reference, shapes)
        pixels = self.attention_norm(pixels + attended)
        return self.feedforward_norm(pixels + self.feedforward(pixels))


def _normalised(convolution: nn.Conv2d, *after: nn.Module) -> nn.Sequential:
    return nn.Sequential(convolution, nn.GroupNorm(GROUPS, convolution.out_channels), *after)


class PixelDecoder(nn.Module):
    """Features of strides 4, 8, 16, 32 (`in_channels` in this order) -> all with `channels` channels."""

    def __init__(
        self, in_channels: Sequence[int], channels: int, heads: int, layers: int, feedforward: int
    ) -> None:
        super().__init__()
        projections = [nn.Conv2d(n, channels, 1) for n in in_channels[:0:-1]]
        lateral = nn.Conv2d(in_channels[0], channels, 1, bias=False)
        output = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.mask_projection = nn.Conv2d(channels, channels, 1)
        for projection in projections:
            nn.init.xavier_uniform_(projection.weight)
        for convolution in (lateral, output, self.mask_projection):
            nn.init.kaiming_uniform_(convolution.weight, a=1)  # "Xavier" of Caffe2
        for convolution in (*projections, self.mask_projection):
            nn.init.constant_(convolution.get_parameter("bias"), 0)
        self.projections = nn.ModuleList(_normalised(projection) for projection in projections)
        self.lateral = _normalised(lateral)
        self.output = _normalised(output, nn.ReLU())
        levels = len(projections)
        self.level_embedding = nn.Parameter(torch.randn(levels, channels))
        self.layers = nn.ModuleList(EncoderLayer(channels, heads, levels, feedforward) for _ in range(layers))

    def forward(self, features: Sequence[Tensor]) -> tuple[Tensor, list[Tensor]]:
        """-> mask features (stride 4), and the refined levels of stride 32, 16, 8."""
        levels = [project(level) for project, level in zip(self.projections, features[:0:-1])]
        shapes = [(level.shape[2], level.shape[3]) for level in levels]
        channels, device = levels[0].shape[1], levels[0].device
        positions = [
            sine_position(*shape, channels, device).flatten(2).mT + embedding
            for shape, embedding in zip(shapes, self.level_embedding)
        ]
        position, reference = torch.cat(positions, dim=1), reference_points(shapes, device)
        pixels = torch.cat([level.flatten(2).mT for level in levels], dim=1)
        for layer in self.layers:
            pixels = layer(pixels, position, reference, shapes)
        refined = [
            level.mT.unflatten(2, shape)
            for level, shape in zip(pixels.split([h * w for h, w in shapes], dim=1), shapes)
        ]
        lateral = self.lateral(features[0])
        finest = F.interpolate(refined[-1], size=lateral.shape[-2:], mode="bilinear", align_corners=False)
        return self.mask_projection(self.output(lateral + finest)), refined
