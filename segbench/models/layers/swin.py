"""Swin Transformers as published dense predictors use them, where timm's classifier differs."""

from __future__ import annotations

from collections.abc import Sequence

from timm.models.swin_transformer import SwinTransformerBlock
from torch import Tensor, nn
from torch.nn import functional as F


class PaddedBlock(SwinTransformerBlock):
    """A block that pads maps to whole windows before the shift; timm shifts first."""

    def _attn(self, x: Tensor) -> Tensor:
        height, width = x.shape[1:3]
        below, right = -height % self.window_size[0], -width % self.window_size[1]
        return super()._attn(F.pad(x, (0, 0, 0, right, 0, below)))[:, :height, :width]


def pad_before_shift(model: nn.Module) -> None:
    """Turn all blocks of a timm Swin Transformer into `PaddedBlock`, in place."""
    for module in model.modules():
        if type(module) is SwinTransformerBlock:
            module.__class__ = PaddedBlock


class LevelNorms(nn.ModuleList):
    """A layer norm for each level B x C x H x W (Liu et al.: Swin-Transformer-Object-Detection)."""

    def __init__(self, channels: Sequence[int]) -> None:
        super().__init__(nn.LayerNorm(n) for n in channels)

    def forward(self, levels: Sequence[Tensor]) -> list[Tensor]:
        return [norm(x.movedim(1, 3)).movedim(3, 1) for norm, x in zip(self, levels)]
