"""DeepLabV3: Chen, Papandreou, Schroff, Adam 2017, "Rethinking Atrous Convolution" (1706.05587)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import nn
from torchvision.ops import Conv2dNormActivation

from segbench.contract.view import View
from segbench.models.bases.dilated import DilatedNetwork
from segbench.models.layers.aspp import ASPP, scaled_rates


class DeepLabV3(DilatedNetwork):
    """Equal to torchvision's `deeplabv3_resnet50`: the paper's without multi-grid, with an auxiliary head.

    Args:
        view: task and classes to predict.
        in_channels: channels of the images.
        output_stride: see `DilatedNetwork`.
        rates: dilations of the ASPP at `output_stride` 16; doubled at 8.
        channels: channels of the head.
        dropout: dropout after the ASPP.
        options: arguments of `DilatedNetwork`.
    """

    def __init__(
        self,
        view: View,
        in_channels: int,
        output_stride: int = 8,
        rates: Sequence[int] = (6, 12, 18),
        channels: int = 256,
        dropout: float = 0.5,
        **options: Any,
    ) -> None:
        super().__init__(view, in_channels, output_stride=output_stride, **options)
        self.head = nn.Sequential(
            ASPP(self.backbone.channels[-1], channels, scaled_rates(rates, output_stride), dropout),
            *Conv2dNormActivation(channels, channels, 3),
            nn.Conv2d(channels, self.outputs, 1),
        )
