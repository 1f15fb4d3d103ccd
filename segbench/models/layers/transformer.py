"""Attention and the decoder layer of transformers whose queries read an image (Carion et al. 2020, DETR)."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F


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
    """Cross-attention, self-attention and feed-forward network, each normalised afterwards.

    self_first: self-attention comes first, as in DETR. dropout: dropout on the output of each of the three.
    """

    def __init__(
        self, channels: int, heads: int, feedforward: int, dropout: float = 0.0, self_first: bool = False
    ) -> None:
        super().__init__()
        self.cross_attention = Attention(channels, heads)
        self.cross_norm = nn.LayerNorm(channels)
        self.self_attention = Attention(channels, heads)
        self.self_norm = nn.LayerNorm(channels)
        self.feedforward = nn.Sequential(
            nn.Linear(channels, feedforward), nn.ReLU(), nn.Linear(feedforward, channels)
        )
        self.feedforward_norm = nn.LayerNorm(channels)
        self.dropout, self.self_first = nn.Dropout(dropout), self_first
        for parameter in self.parameters():
            if parameter.dim() > 1:
                nn.init.xavier_uniform_(parameter)

    def forward(
        self, query: Tensor, place: Tensor, pixels: Tensor, position: Tensor, allowed: Tensor | None = None
    ) -> Tensor:
        """query, place B x Q x C; pixels B x N x C, position 1 x N x C; allowed: see `Attention`."""
        if self.self_first:
            query = self._exchange(query, place)
        attended = self.cross_attention(query + place, pixels + position, pixels, allowed)
        query = self.cross_norm(query + self.dropout(attended))
        if not self.self_first:
            query = self._exchange(query, place)
        return self.feedforward_norm(query + self.dropout(self.feedforward(query)))

    def _exchange(self, query: Tensor, place: Tensor) -> Tensor:
        placed = query + place
        return self.self_norm(query + self.dropout(self.self_attention(placed, placed, query)))
