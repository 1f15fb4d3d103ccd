"""The transformer decoder: queries read one scale after the other, each within the mask it has predicted."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from segbench.models.layers.mask_queries import MaskQueries, mask_embedding
from segbench.models.layers.position import sine_position
from segbench.models.layers.transformer import DecoderLayer

LEVELS = 3


class QueryDecoder(nn.Module):
    def __init__(
        self, classes: int, channels: int, queries: int, heads: int, layers: int, feedforward: int
    ) -> None:
        super().__init__()
        self.query_features = nn.Parameter(torch.randn(queries, channels))
        self.query_places = nn.Parameter(torch.randn(queries, channels))
        self.level_embedding = nn.Parameter(torch.randn(LEVELS, channels))
        self.layers = nn.ModuleList(DecoderLayer(channels, heads, feedforward) for _ in range(layers))
        self.norm = nn.LayerNorm(channels)
        self.classifier = nn.Linear(channels, classes + 1)
        self.mask_embedding = mask_embedding(channels)

    def forward(self, mask_features: Tensor, levels: list[Tensor]) -> MaskQueries:
        """levels: B x C x h x w of stride 32, 16, 8. The first output is that before any attention."""
        shapes = [(level.shape[2], level.shape[3]) for level in levels]
        pixels = [level.flatten(2).mT + e for level, e in zip(levels, self.level_embedding)]
        channels, device = mask_features.shape[1], mask_features.device
        positions = [sine_position(*shape, channels, device).flatten(2).mT for shape in shapes]
        with torch.no_grad():  # interpolated masks = embeddings x interpolated features
            small = [
                F.interpolate(mask_features, shape, mode="bilinear", align_corners=False).flatten(2)
                for shape in shapes
            ]

        # copies: torch's FLOP counter cannot hook modules that are given parameters or views of these
        query = self.query_features.repeat(len(mask_features), 1, 1)
        place = self.query_places.repeat(len(mask_features), 1, 1)
        outputs = [self.norm(query)]
        embeddings = [self.mask_embedding(outputs[0])]
        for i, layer in enumerate(self.layers):
            level = i % LEVELS
            with torch.no_grad():
                inside = embeddings[-1] @ small[level] >= 0
                allowed = inside | ~inside.any(-1, keepdim=True)
            query = layer(query, place, pixels[level], positions[level], allowed)
            outputs.append(self.norm(query))
            embeddings.append(self.mask_embedding(outputs[-1]))
        return MaskQueries(self.classifier(torch.stack(outputs)), torch.stack(embeddings), mask_features)
