"""Parts of the heads that detectors have on every level of a feature pyramid."""

from __future__ import annotations

import torch
from torch import Tensor, nn


def rows(levels: list[Tensor]) -> Tensor:
    """Maps B x C x h x w of all levels -> B x places x C, level after level, row after row."""
    return torch.cat([level.flatten(2) for level in levels], 2).transpose(1, 2)


def group_norm(channels: int) -> nn.GroupNorm:
    """32 groups, as heads on pyramids have; fewer where these would have less than 4 channels."""
    return nn.GroupNorm(min(32, channels // 4), channels)


def initialise(module: nn.Module) -> None:
    """Convolutions of heads start near zero."""
    for layer in module.modules():
        if isinstance(layer, nn.Conv2d):
            nn.init.normal_(layer.weight, std=0.01)
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)
