"""Atrous spatial pyramid pooling: Chen et al. 2017, "Rethinking Atrous Convolution" (1706.05587)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torchvision.ops import Conv2dNormActivation
from torchvision.ops.misc import ConvNormActivation

from segbench.models.layers.pooling import PooledConv


class AtrousConv2d(nn.Conv2d):
    """A convolution of stride 1 that keeps the size; taps that read only padding are skipped.

    With a rate as large as the features a 3x3 convolution is a 1x1 one (1706.05587, section 3.3), and costs
    as much here.
    """

    def forward(self, x: Tensor) -> Tensor:
        (rows, columns), (up, left) = self.weight.shape[2:], self.dilation
        cut_rows = max(0, rows // 2 - (x.shape[2] - 1) // up)
        cut_columns = max(0, columns // 2 - (x.shape[3] - 1) // left)
        if not cut_rows and not cut_columns:
            return super().forward(x)
        weight = self.weight[:, :, cut_rows : rows - cut_rows, cut_columns : columns - cut_columns]
        if self.groups == len(weight) == weight.numel() and self.bias is None:  # depthwise, one tap
            return x * weight.view(1, -1, 1, 1).to(x.dtype)
        padding = [(weight.shape[2] // 2) * up, (weight.shape[3] // 2) * left]
        return F.conv2d(x, weight, self.bias, 1, padding, self.dilation, self.groups)


class AtrousNormActivation(ConvNormActivation):
    """torchvision's `Conv2dNormActivation` of an `AtrousConv2d`, with the same arguments."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, conv_layer=AtrousConv2d, **options)


def separable_conv(
    inputs: int, outputs: int, kernel_size: int = 3, dilation: int = 1, depthwise_norm: bool = True
) -> nn.Sequential:
    """Depthwise convolution, 1x1 convolution, batch norm, ReLU (Chen et al. 2018, 1802.02611).

    depthwise_norm: batch norm and ReLU after the depthwise convolution too, as in the authors' code.
    """
    depthwise = AtrousNormActivation(
        inputs,
        inputs,
        kernel_size,
        groups=inputs,
        dilation=dilation,
        norm_layer=nn.BatchNorm2d if depthwise_norm else None,
        activation_layer=nn.ReLU if depthwise_norm else None,
        bias=False,
    )
    return nn.Sequential(depthwise, Conv2dNormActivation(inputs, outputs, 1))


class ASPP(nn.Module):
    """Context at several scales: B x inputs x H x W -> B x outputs x H x W.

    In parallel a 1x1 convolution, a 3x3 one for each of `dilations` and the mean of the image, then a 1x1
    convolution of all and dropout. `conv(inputs, outputs, 3, dilation=...)` makes the 3x3 convolutions.
    """

    def __init__(
        self,
        inputs: int,
        outputs: int,
        dilations: Sequence[int],
        dropout: float,
        conv: Callable[..., nn.Module] = AtrousNormActivation,
    ) -> None:
        super().__init__()
        self.convs = nn.ModuleList(
            [
                Conv2dNormActivation(inputs, outputs, 1),
                *(conv(inputs, outputs, 3, dilation=dilation) for dilation in dilations),
                PooledConv(inputs, outputs, 1),
            ]
        )
        joined = len(self.convs) * outputs
        self.project = nn.Sequential(*Conv2dNormActivation(joined, outputs, 1), nn.Dropout(dropout))

    def forward(self, x: Tensor) -> Tensor:
        return self.project(torch.cat([conv(x) for conv in self.convs], 1))


def scaled_rates(rates: Sequence[int], output_stride: int) -> list[int]:
    """Dilations at `output_stride` for `rates` meant for stride 16: doubled at 8, as in the paper."""
    return [rate * 16 // output_stride for rate in rates]
