"""Sine position embedding of feature maps (Carion et al. 2020, DETR)."""

from __future__ import annotations

import math

import torch
from torch import Tensor


def sine_position(height: int, width: int, channels: int, device: torch.device) -> Tensor:
    """Compute the sine position embedding, with positions scaled to 0..2 pi.

    Returns:
        1 x `channels` x height x width float32, y in the first half; `channels` must be a multiple of 4.
    """
    steps = torch.arange(channels // 4, dtype=torch.float32, device=device)
    frequency = 10000 ** (-4 * steps / channels)

    def encode(size: int) -> Tensor:
        position = torch.arange(1, size + 1, dtype=torch.float32, device=device) * (
            2 * math.pi / (size + 1e-6)
        )
        angle = position[:, None] * frequency
        return torch.stack([angle.sin(), angle.cos()], dim=2).flatten(1).T  # channels / 2 x size

    rows, columns = encode(height), encode(width)
    return torch.cat([rows[:, :, None].expand(-1, -1, width), columns[:, None].expand(-1, height, -1)])[None]
