"""The transformer decoder: queries read one scale after the other, each within the mask it has predicted."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from segbench.models.position import sine_position

LEVELS = 3


class Attention(nn.Module):
    """Multi-head attention, B x N x C; one projection matrix, as its initialisation depends on its shape."""

    def __init__(self, channels: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.projection = nn.Linear(channels, 3 * channels)
        self.output = nn.Linear(channels, channels)
        nn.init.zeros_(self.projection.bias)
        nn.init.zeros_(self.output.bias)

    def forward(self, query: Tensor, key: Tensor, value: Tensor, allowed: Tensor | None = None) -> Tensor:
        """`allowed` B x N x M bool: which of the M keys each query reads."""
        projections = zip(self.projection.weight.chunk(3), self.projection.bias.chunk(3))
        q, k, v = (
            F.linear(x, weight, bias).unflatten(2, (self.heads, -1)).transpose(1, 2)
            for x, (weight, bias) in zip((query, key, value), projections)
        )
        mask = None if allowed is None else allowed[:, None]
        attended = F.scaled_dot_product_attention(q, k, v, attn_mask=mask)
        return self.output(attended.transpose(1, 2).flatten(2))


class DecoderLayer(nn.Module):
    """Cross-attention, self-attention and feed-forward network, each normalised afterwards; no dropout."""

    def __init__(self, channels: int, heads: int, feedforward: int) -> None:
        super().__init__()
        self.cross_attention = Attention(channels, heads)
        self.cross_norm = nn.LayerNorm(channels)
        self.self_attention = Attention(channels, heads)
        self.self_norm = nn.LayerNorm(channels)
        self.feedforward = nn.Sequential(
            nn.Linear(channels, feedforward), nn.ReLU(), nn.Linear(feedforward, channels)
        )
        self.feedforward_norm = nn.LayerNorm(channels)
        for parameter in self.parameters():
            if parameter.dim() > 1:
                nn.init.xavier_uniform_(parameter)

    def forward(
        self, query: Tensor, place: Tensor, pixels: Tensor, position: Tensor, allowed: Tensor
    ) -> Tensor:
        attended = self.cross_attention(query + place, pixels + position, pixels, allowed)
        query = self.cross_norm(query + attended)
        placed = query + place
        query = self.self_norm(query + self.self_attention(placed, placed, query))
        return self.feedforward_norm(query + self.feedforward(query))


class MaskQueries(NamedTuple):
    """Output of every layer, the first one before any attention.

    A mask's logits are linear in the mask features, so training never computes those that it does not need.
    """

    classes: Tensor
    """layers x B x Q x (classes + 1) logits, the last one "no object"."""
    embeddings: Tensor
    """layers x B x Q x C"""
    features: Tensor
    """B x C x h x w, at stride 4"""

    def masks(self, layer: int = -1) -> Tensor:
        """B x Q x h x w mask logits of a layer."""
        return torch.einsum("bqc,bchw->bqhw", self.embeddings[layer], self.features)


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
        self.mask_embedding = nn.Sequential(
            nn.Linear(channels, channels),
            nn.ReLU(),
            nn.Linear(channels, channels),
            nn.ReLU(),
            nn.Linear(channels, channels),
        )

    def forward(self, mask_features: Tensor, levels: list[Tensor]) -> MaskQueries:
        """levels: B x C x h x w of stride 32, 16, 8."""
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
