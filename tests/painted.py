"""Images that show their truth: channel values are multiples of the label."""

from __future__ import annotations

import torch
from torch.nn import functional as F
from torchvision import tv_tensors

LABELS = 4
"""Labels in `painted`, from 1."""


def painted(
    height: int, width: int, channels: int = 3, dtype: torch.dtype = torch.uint8
) -> tuple[tv_tensors.Image, tv_tensors.Mask]:
    """An image whose channels are 40, 20 or 10 times its label, and its mask (1 x H x W int32)."""
    y, x = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    mask = 1 + (y > height // 3).int() + 2 * (x + y > width // 2).int()
    image = torch.stack([mask * (40, 20, 10)[channel % 3] for channel in range(channels)]).to(torch.uint8)
    if dtype == torch.float32:
        return tv_tensors.Image(image.float() / 255), tv_tensors.Mask(mask[None].int())
    return tv_tensors.Image(image), tv_tensors.Mask(mask[None].int())


def shown(image: torch.Tensor) -> torch.Tensor:
    """Return the label that channel 0 shows, after a normalisation with mean 0 and deviation 1 (H x W)."""
    return image[0] * 255 / 40


def inner(mask: torch.Tensor, margin: int) -> torch.Tensor:
    """Return where all labels within a margin are the same, so that interpolation changes nothing (H x W).

    Pixels near the border of the image are not.
    """
    values = mask.as_subclass(torch.Tensor)[0].float()[None, None]
    around = F.pad(values, (margin,) * 4, value=-1)  # nor are borders of the image inside
    size = 2 * margin + 1
    return (F.max_pool2d(around, size, 1) == -F.max_pool2d(-around, size, 1))[0, 0]
