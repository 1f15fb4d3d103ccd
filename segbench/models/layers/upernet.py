"""UPerNet's head (Xiao et al. 2018, "Unified Perceptual Parsing for Scene Understanding", 1807.10221)."""

from __future__ import annotations

import functools
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torchvision.ops import Conv2dNormActivation

from segbench.models.layers.pooling import PooledConv

BINS = (1, 2, 3, 6)
enlarged = functools.partial(F.interpolate, mode="bilinear", align_corners=False)


class UPerHead(nn.Module):
    """Pooling over parts of the coarsest level, and a feature pyramid -> channels at the finest level.

    Args:
        in_channels: channels of the levels, from fine to coarse.
        channels: channels of the result, and of all layers between.
    """

    def __init__(self, in_channels: Sequence[int], channels: int) -> None:
        super().__init__()
        *finer, coarsest = in_channels
        self.pools = nn.ModuleList(PooledConv(coarsest, channels, bins) for bins in BINS)
        self.context = Conv2dNormActivation(coarsest + len(BINS) * channels, channels)
        self.laterals = nn.ModuleList(Conv2dNormActivation(n, channels, 1) for n in finer)
        self.smooth = nn.ModuleList(Conv2dNormActivation(channels, channels) for _ in finer)
        self.fuse = Conv2dNormActivation(len(in_channels) * channels, channels)

    def forward(self, features: Sequence[Tensor]) -> Tensor:
        *finer, coarsest = features
        x = self.context(torch.cat([coarsest, *(pool(coarsest) for pool in self.pools)], 1))
        levels = [x]
        for lateral, feature in zip(reversed(self.laterals), reversed(finer)):
            x = lateral(feature) + enlarged(x, feature.shape[-2:])
            levels.append(x)
        smooth = [levels[0], *(layer(x) for layer, x in zip(reversed(self.smooth), levels[1:]))]
        return self.fuse(torch.cat([enlarged(x, features[0].shape[-2:]) for x in reversed(smooth)], 1))
