"""U-Net (Ronneberger, Fischer, Brox 2015): an encoder, a decoder, and concatenation between their levels."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from segbench.contract.view import View
from segbench.errors import SegbenchError
from segbench.models.layers.backbones import Backbone, pad_to_multiple
from segbench.models.layers.branches import Branches
from segbench.models.network import Activation, SemanticNetwork


class DoubleConv(nn.Sequential):
    """Twice: 3x3 convolution that keeps the size, batch norm, ReLU."""

    def __init__(self, inputs: int, outputs: int) -> None:
        layers: list[nn.Module] = []
        for channels in (inputs, outputs):
            layers += [
                nn.Conv2d(channels, outputs, 3, padding=1, bias=False),
                nn.BatchNorm2d(outputs),
                nn.ReLU(inplace=True),
            ]
        super().__init__(*layers)


class Encoder(nn.Module):
    """The paper's encoder: a double convolution at every level, 2x2 max pooling between."""

    def __init__(self, in_channels: int, widths: Sequence[int]) -> None:
        super().__init__()
        self.channels = list(widths)
        self.reductions = [2**level for level in range(len(widths))]
        self.stages = nn.ModuleList(DoubleConv(a, b) for a, b in zip((in_channels, *widths), widths))

    def forward(self, images: Tensor) -> list[Tensor]:
        features: list[Tensor] = []
        for stage in self.stages:
            features.append(stage(F.max_pool2d(features[-1], 2) if features else images))
        return features


class Up(nn.Module):
    """2x2 transposed convolution, concatenation with the encoder's features if any, double convolution."""

    def __init__(self, inputs: int, skip: int, outputs: int, norm: bool) -> None:
        super().__init__()
        self.up: nn.Module = nn.ConvTranspose2d(inputs, outputs, 2, stride=2, bias=not norm)
        if norm:
            self.up = nn.Sequential(self.up, nn.BatchNorm2d(outputs), nn.ReLU(inplace=True))
        self.conv = DoubleConv(outputs + skip, outputs)

    def forward(self, features: Tensor, skip: Tensor | None) -> Tensor:
        features = self.up(features)
        return self.conv(features if skip is None else torch.cat([features, skip], 1))


class UNet(SemanticNetwork):
    """U-Net for images of any size.

    Unlike the paper's, convolutions are padded, so that output and input sizes agree, and followed by batch
    norm. The decoder reaches the full size; it has no skip where the backbone has no features.

    Args:
        view: task and classes to predict.
        in_channels: channels of the images.
        widths: channels at reduction 1, 2, 4, ... of the decoder and, without a backbone, of the encoder.
        backbone: timm name of a backbone to use as encoder; None: the paper's encoder.
        frozen_norm: fix the batch norms of the backbone, see `Backbone`.
        up_norm: follow transposed convolutions by batch norm and ReLU.
        fusion: `early`: one encoder for all channels; `branches`: one for each modality, see `Branches`.
        modalities: with `branches`: the channels of each modality, from 1; None: one channel each.
        modality_dropout: with `branches`: probability that a modality of an image is dropped in training.
        loss, activation: see `SemanticNetwork`.

    Raises:
        SegbenchError: there are fewer widths than the backbone needs, or options do not fit each other or
            the images.
    """

    def __init__(
        self,
        view: View,
        in_channels: int,
        widths: Sequence[int] = (32, 64, 128, 256, 512),
        backbone: str | None = None,
        frozen_norm: bool = False,
        up_norm: bool = False,
        fusion: Literal["early", "branches"] = "early",
        modalities: Sequence[Sequence[int]] | None = None,
        modality_dropout: float = 0.0,
        loss: dict[str, float] | None = None,
        activation: Activation = "softmax",
    ) -> None:
        super().__init__(view, in_channels, loss, activation)
        if fusion == "early" and (modalities is not None or modality_dropout):
            raise SegbenchError(
                "`modalities` and `modality_dropout` need an encoder for each modality",
                where="options.fusion",
                remedy="set fusion: branches, or remove them",
            )

        def make(channels: int) -> Backbone | Encoder:
            if backbone:
                return Backbone(backbone, channels, frozen_norm=frozen_norm)
            return Encoder(channels, widths)

        encoder: Backbone | Encoder | Branches = (
            make(in_channels)
            if fusion == "early"
            else Branches(make, in_channels, modalities, modality_dropout)
        )
        self.add_module("backbone" if backbone else "encoder", encoder)
        self.reductions = encoder.reductions
        levels = self.reductions[-1].bit_length() - 1
        if len(widths) < levels:
            raise SegbenchError(
                f"{list(widths)} has {len(widths)} entries, the backbone {backbone} needs {levels}",
                where="widths",
                remedy="give one width for each of the reductions 1, 2, 4, ...",
            )
        channels = dict(zip(self.reductions, encoder.channels))
        inputs = encoder.channels[-1]
        self.decoder = nn.ModuleDict()
        for level in reversed(range(levels)):
            self.decoder[str(2**level)] = Up(inputs, channels.get(2**level, 0), widths[level], up_norm)
            inputs = widths[level]
        self.head = nn.Conv2d(inputs, self.outputs, 1)

    def forward(self, images: Tensor) -> Tensor:
        height, width = images.shape[-2:]
        encoder: Any = self.backbone if hasattr(self, "backbone") else self.encoder
        features = encoder(pad_to_multiple(images, self.reductions[-1]))
        skips = dict(zip(self.reductions, features))
        x = features[-1]
        for reduction, up in self.decoder.items():
            x = up(x, skips.get(int(reduction)))
        return self.head(x)[..., :height, :width]
