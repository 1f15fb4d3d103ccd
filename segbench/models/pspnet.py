"""PSPNet: Zhao, Shi, Qi, Wang, Jia 2017, "Pyramid Scene Parsing Network" (1612.01105)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torchvision.ops import Conv2dNormActivation

from segbench.contract.view import View
from segbench.models.bases.dilated import DilatedNetwork
from segbench.models.layers.pooling import PooledConv
from segbench.models.layers.weight_decay import backbone_tables


class PyramidPooling(nn.Module):
    """Concatenate features with their means over n x n parts, for each n in `bins`.

    Args:
        channels: channels C of the input; all means together have about as many.
        bins: numbers of parts along each side.
        align_corners: how the means are upsampled.

    Shape:
        B x C x H x W -> B x `self.channels` x H x W.
    """

    def __init__(self, channels: int, bins: Sequence[int], align_corners: bool) -> None:
        super().__init__()
        width = channels // len(bins)
        self.branches = nn.ModuleList(PooledConv(channels, width, n, align_corners) for n in bins)
        self.channels = channels + width * len(bins)

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([x, *(branch(x) for branch in self.branches)], 1)


class PSPNet(DilatedNetwork):
    """Equal to the authors' PyTorch code, which aligns corners and uses sides of a multiple of 8 plus 1.

    Args:
        view: task and classes to predict.
        in_channels: channels of the images.
        bins: numbers of parts along each side of the image, over which features are averaged.
        channels: channels of the head.
        dropout: dropout before the last layer.
        auxiliary_weight: see `DilatedNetwork`.
        align_corners: see `DilatedNetwork`.
        options: arguments of `DilatedNetwork`.
    """

    def __init__(
        self,
        view: View,
        in_channels: int,
        bins: Sequence[int] = (1, 2, 3, 6),
        channels: int = 512,
        dropout: float = 0.1,
        auxiliary_weight: float = 0.4,
        align_corners: bool = True,
        **options: Any,
    ) -> None:
        super().__init__(
            view, in_channels, auxiliary_weight=auxiliary_weight, align_corners=align_corners, **options
        )
        pyramid = PyramidPooling(self.backbone.channels[-1], bins, align_corners)
        self.head = nn.Sequential(
            pyramid,
            *Conv2dNormActivation(pyramid.channels, channels, 3),
            nn.Dropout2d(dropout),
            nn.Conv2d(channels, self.outputs, 1),
        )

    def no_weight_decay(self) -> set[str]:
        """Name position tables; norms and biases decay, as in github.com/hszhao/semseg."""
        return backbone_tables(self)
