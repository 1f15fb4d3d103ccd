"""The output of a network that predicts a set of (class, mask) pairs."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn


class MaskQueries(NamedTuple):
    """Output of every decoder layer.

    A mask's logits are linear in the mask features, so training computes only those that it needs.
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


def mask_embedding(channels: int) -> nn.Sequential:
    """Make the network of three layers from queries to the embeddings of their masks."""
    return nn.Sequential(
        nn.Linear(channels, channels),
        nn.ReLU(),
        nn.Linear(channels, channels),
        nn.ReLU(),
        nn.Linear(channels, channels),
    )
