"""DeepLabV3+: Chen et al. 2018, "Encoder-Decoder with Atrous Separable Convolution" (1802.02611)."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torchvision.ops import Conv2dNormActivation

from segbench.contract.view import View
from segbench.models.bases.dilated import DilatedNetwork
from segbench.models.layers.aspp import ASPP, scaled_rates, separable_conv


class DeepLabV3Plus(DilatedNetwork):
    """ASPP, upsampled and concatenated with features of stride 4, then 3x3 convolutions; all are separable.

    segmentation_models_pytorch differs from the paper: its `convolutions` are (1, 1), `depthwise_norm` is
    False, `align_corners` is True, and the rates are (12, 24, 36) at stride 16.

    Args:
        view: task and classes to predict.
        in_channels: channels of the images.
        output_stride: see `DilatedNetwork`.
        rates: dilations of the ASPP at `output_stride` 16; doubled at 8.
        channels: channels of the ASPP and of the decoder.
        low_channels: channels to which the features of stride 4 are reduced.
        convolutions: number of convolutions before and after the concatenation.
        depthwise_norm: see `separable_conv`.
        dropout: dropout after the ASPP.
        auxiliary_weight: see `DilatedNetwork`.
        options: arguments of `DilatedNetwork`.
    """

    def __init__(
        self,
        view: View,
        in_channels: int,
        output_stride: int = 16,
        rates: Sequence[int] = (6, 12, 18),
        channels: int = 256,
        low_channels: int = 48,
        convolutions: tuple[int, int] = (0, 2),
        depthwise_norm: bool = True,
        dropout: float = 0.1,
        auxiliary_weight: float = 0.0,
        **options: Any,
    ) -> None:
        super().__init__(
            view, in_channels, output_stride=output_stride, auxiliary_weight=auxiliary_weight, **options
        )
        conv = functools.partial(separable_conv, depthwise_norm=depthwise_norm)
        before, after = convolutions
        dilations = scaled_rates(rates, output_stride)
        self.context = nn.Sequential(
            ASPP(self.backbone.channels[-1], channels, dilations, dropout, conv),
            *(conv(channels, channels) for _ in range(before)),
        )
        self.low_level = self.backbone.reductions.index(4)
        self.reduce = Conv2dNormActivation(self.backbone.channels[self.low_level], low_channels, 1)
        widths = [channels + low_channels] + [channels] * after
        self.head = nn.Sequential(
            *(conv(a, b) for a, b in itertools.pairwise(widths)),
            nn.Conv2d(widths[-1], self.outputs, 1),
        )

    def classify(self, features: list[Tensor]) -> Tensor:
        low = self.reduce(features[self.low_level])
        context = F.interpolate(
            self.context(features[-1]), low.shape[-2:], mode="bilinear", align_corners=self.align_corners
        )
        return self.head(torch.cat([context, low], 1))
