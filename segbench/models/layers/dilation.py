"""Dilation in place of stride: Chen et al. 2017, "Rethinking Atrous Convolution" (1706.05587)."""

from __future__ import annotations

from torch import nn


def dilate(layers: nn.Module, stride: int, output_stride: int) -> None:
    """Dilate convolutions in place, so that no output has a stride above `output_stride`.

    The layers must run in the order of their definition. As in torchvision's MobileNetV3, a convolution that
    loses its stride is dilated, too.

    Args:
        layers: layers with convolutions.
        stride: stride of their input.
        output_stride: stride that the output may have.
    """
    dilation = 1
    for conv in (module for module in layers.modules() if isinstance(module, nn.Conv2d)):
        stride *= conv.stride[0]
        if stride > output_stride:
            dilation *= stride // output_stride
            stride, conv.stride = output_stride, (1, 1)
        if dilation > 1 and conv.kernel_size[0] > 1:
            conv.dilation = (dilation, dilation)
            if any(conv.padding):  # timm's "same" convolutions pad by themselves
                conv.padding = (dilation * (conv.kernel_size[0] // 2), dilation * (conv.kernel_size[1] // 2))
