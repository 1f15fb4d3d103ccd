"""Parts of the heads that detectors have on every level of a feature pyramid."""

from __future__ import annotations

import torch
from torch import Tensor, nn


def rows(levels: list[Tensor]) -> Tensor:
    """Flatten B x C x h x w maps of all levels to B x sum(h x w) x C, level after level, row after row."""
    return torch.cat([level.flatten(2) for level in levels], 2).transpose(1, 2)


def group_norm(channels: int) -> nn.GroupNorm:
    """Make a group norm of 32 groups, or of fewer so that each has at least 4 channels."""
    return nn.GroupNorm(min(32, channels // 4), channels)


def initialise(module: nn.Module) -> None:
    """Draw the weights of all convolutions from a normal distribution of deviation 0.01; biases are zero."""
    for layer in module.modules():
        if isinstance(layer, nn.Conv2d):
            nn.init.normal_(layer.weight, std=0.01)
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)
