"""Panoptic-DeepLab: Cheng et al. 2020, "Panoptic-DeepLab: A Simple, Strong, and Fast Baseline for Bottom-Up
Panoptic Segmentation" (1911.10194).

Details that the paper does not specify follow the authors' code (github.com/bowenc0221/panoptic-deeplab),
with two exceptions: the pooled branch of the ASPP is normalised, as in DeepLabV3, and hard pixel mining
ignores void pixels.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torchvision.ops import Conv2dNormActivation

from segbench.contract.prediction import IGNORE, Instances, Prediction, Target
from segbench.contract.view import View
from segbench.copying import upload
from segbench.models.layers.aspp import ASPP, scaled_rates, separable_conv
from segbench.models.layers.backbones import Backbone
from segbench.models.layers.selection import indices
from segbench.models.losses.segments import segments_of
from segbench.models.losses.semantic import ohem_cross_entropy
from segbench.models.network import Network
from segbench.models.panoptic_deeplab.grouping import group
from segbench.models.panoptic_deeplab.targets import targets_of
from segbench.models.whole_batch import divided, total

conv5 = functools.partial(separable_conv, kernel_size=5)


class Maps(NamedTuple):
    """Output of the network."""

    semantic: Tensor
    """B x classes x H x W logits."""
    centre: Tensor
    """B x H x W heatmap, 1 at centres of objects."""
    offset: Tensor
    """B x 2 x H x W, (y, x) in pixels from each pixel to the centre of its object."""


class Decoder(nn.Module):
    """ASPP on the coarsest features, then for each finer level: upsample, concatenate and convolve.

    Args:
        aspp: the ASPP.
        aspp_channels: channels of its output.
        low_inputs: channels of each finer level.
        low_channels: channels of each finer level after its 1x1 convolution.
        channels: channels of the output.
        align_corners: how features are upsampled.
    """

    def __init__(
        self,
        aspp: ASPP,
        aspp_channels: int,
        low_inputs: Sequence[int],
        low_channels: Sequence[int],
        channels: int,
        align_corners: bool,
    ) -> None:
        super().__init__()
        self.aspp, self.align_corners = aspp, align_corners
        self.reduce = nn.ModuleList(
            Conv2dNormActivation(a, b, 1) for a, b in zip(low_inputs, low_channels, strict=True)
        )
        inputs = [aspp_channels] + [channels] * (len(low_channels) - 1)
        self.fuse = nn.ModuleList(conv5(a + b, channels) for a, b in zip(inputs, low_channels))

    def forward(self, coarsest: Tensor, levels: Sequence[Tensor]) -> Tensor:
        x = self.aspp(coarsest)
        for level, reduce, fuse in zip(levels, self.reduce, self.fuse):
            low = reduce(level)
            x = F.interpolate(x, low.shape[-2:], mode="bilinear", align_corners=self.align_corners)
            x = fuse(torch.cat([x, low], 1))
        return x


class Head(nn.Module):
    """A convolution and the prediction, in float32, since bfloat16 is too coarse for offsets."""

    def __init__(self, inputs: int, channels: int, outputs: int) -> None:
        super().__init__()
        self.conv = conv5(inputs, channels)
        self.predict = nn.Conv2d(channels, outputs, 1)
        nn.init.normal_(self.predict.weight, std=0.001)
        nn.init.zeros_(self.predict.get_parameter("bias"))

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv(x)
        with torch.autocast("cpu" if x.is_meta else x.device.type, enabled=False):  # "meta" has no autocast
            return self.predict(x.float())


class PanopticDeepLab(Network):
    """Predict the class of every pixel, and for pixels of things the offset to the centre of their object.

    Args:
        view: task and classes to predict.
        in_channels: channels of the images.
        backbone: timm name of the backbone.
        output_stride: stride of the coarsest features, 8, 16 or 32.
        frozen_norm: see `Backbone`.
        rates: dilations of the ASPPs at `output_stride` 16.
        channels: channels of the semantic decoder and of both ASPPs.
        low_channels: channels to which the semantic decoder reduces the levels of stride 8 and 4 (three
            numbers: of stride 16, 8 and 4).
        instance_channels: channels of the instance decoder.
        instance_low_channels: as `low_channels`, for the instance decoder.
        instance_head_channels: channels of the heads for centres and offsets.
        dropout: dropout after the ASPPs.
        align_corners: how maps are upsampled.
        sigma: standard deviation of the Gaussians around centres, in pixels.
        hardest: share of the pixels, 0 to 1, whose cross-entropy counts.
        small_area: area in pixels below which an object is small.
        small_weight: weight of the cross-entropy of pixels of small objects.
        weights: weights of the losses of classes, centres and offsets.
        centre_threshold: see `find_centres`.
        nms_kernel: see `find_centres`.
        top_k: see `find_centres`.
        stuff_area: see `group`.
    """

    tasks = ("panoptic",)

    def __init__(
        self,
        view: View,
        in_channels: int,
        backbone: str = "resnet50",
        output_stride: int = 16,
        frozen_norm: bool = False,
        rates: Sequence[int] = (6, 12, 18),
        channels: int = 256,
        low_channels: Sequence[int] = (64, 32),
        instance_channels: int = 128,
        instance_low_channels: Sequence[int] = (32, 16),
        instance_head_channels: int = 32,
        dropout: float = 0.1,
        align_corners: bool = False,
        sigma: float = 8.0,
        hardest: float = 0.2,
        small_area: int = 4096,
        small_weight: float = 3.0,
        weights: Sequence[float] = (1.0, 200.0, 0.01),
        centre_threshold: float = 0.1,
        nms_kernel: int = 7,
        top_k: int = 200,
        stuff_area: int = 0,
    ) -> None:
        super().__init__(view, in_channels)
        self.backbone = Backbone(backbone, in_channels, output_stride=output_stride, frozen_norm=frozen_norm)
        strides = [4 << i for i in reversed(range(len(low_channels)))]
        self.levels = [self.backbone.reductions.index(stride) for stride in strides]
        coarsest, low_inputs = self.backbone.channels[-1], [self.backbone.channels[i] for i in self.levels]
        dilations = scaled_rates(rates, output_stride)

        def decoder(low: Sequence[int], width: int) -> Decoder:
            aspp = ASPP(coarsest, channels, dilations, dropout)
            return Decoder(aspp, channels, low_inputs, low, width, align_corners)

        self.semantic_decoder = decoder(low_channels, channels)
        self.semantic_head = Head(channels, channels, len(view.classes))
        self.instance_decoder = decoder(instance_low_channels, instance_channels)
        self.centre_head = Head(instance_channels, instance_head_channels, 1)
        self.offset_head = Head(instance_channels, instance_head_channels, 2)
        self.align_corners, self.sigma, self.hardest = align_corners, sigma, hardest
        self.small_area, self.small_weight, self.weights = small_area, small_weight, tuple(weights)
        self.grouping: dict[str, Any] = {
            "things": view.thing_indices,
            "threshold": centre_threshold,
            "kernel": nms_kernel,
            "top_k": top_k,
            "stuff_area": stuff_area,
        }

    def decode(self, features: Sequence[Tensor]) -> tuple[Tensor, Tensor, Tensor]:
        """Compute class logits, centres and offsets (in cells) at stride 4 from the backbone's features."""
        levels = [features[i] for i in self.levels]
        semantic = self.semantic_head(self.semantic_decoder(features[-1], levels))
        instance = self.instance_decoder(features[-1], levels)
        return semantic, self.centre_head(instance), self.offset_head(instance)

    def enlarge(self, semantic: Tensor, centre: Tensor, offset: Tensor, size: tuple[int, int]) -> Maps:
        """Resize the output of `decode` to `size` (height, width), and scale the offsets to pixels."""
        cut = int(self.align_corners)
        growth = [(a - cut) / max(1, b - cut) for a, b in zip(size, offset.shape[2:])]
        semantic, centre, offset = (
            F.interpolate(x, size, mode="bilinear", align_corners=self.align_corners)
            for x in (semantic, centre, offset)
        )
        pixels = [part * factor for part, factor in zip(offset.unbind(1), growth)]
        return Maps(semantic, centre[:, 0], torch.stack(pixels, 1))

    def forward(self, images: Tensor) -> Maps:
        """Compute the maps of B x in_channels x H x W images, at their size."""
        return self.enlarge(*self.decode(self.backbone(images)), (images.shape[2], images.shape[3]))

    def losses(self, images: Tensor, targets: list[Target]) -> dict[str, Tensor]:
        maps = self(images)
        segments = segments_of(self.view.task, targets)
        truth = targets_of(segments, self.view.thing_indices, self.sigma, self.small_area)
        labelled, thing = truth.semantic != IGNORE, truth.thing[:, None]
        pixels = torch.where(truth.small, self.small_weight, 1.0)
        centre = ((maps.centre - truth.centre) ** 2 * labelled).sum()
        offset = ((maps.offset - truth.offset).abs() * thing).sum()
        return {
            "semantic": self.weights[0]
            * ohem_cross_entropy(maps.semantic, truth.semantic, self.hardest, pixels),
            "centre": self.weights[1] * divided(centre, total(labelled.sum()).clamp(min=1)),
            "offset": self.weights[2] * divided(offset, total(2 * thing.sum()).clamp(min=1)),
        }

    @torch.inference_mode()
    def predict(self, images: Tensor, sizes: list[tuple[int, int]]) -> list[Prediction]:
        semantic, centre, offset = self.decode(self.backbone(images))
        return [
            self._prediction(self.enlarge(s[None], c[None], o[None], size))
            for s, c, o, size in zip(semantic, centre, offset, sizes)
        ]

    def _prediction(self, maps: Maps) -> Prediction:
        found = group(maps.semantic[0].softmax(0), maps.centre[0], maps.offset[0], **self.grouping)
        things = upload(self.view.thing_indices, found.labels.device)
        (objects,) = indices([torch.isin(found.labels, things)])
        masks = found.segments == objects[:, None, None] + 1
        return Prediction(
            semantic=maps.semantic[0].argmax(0),
            instances=Instances(found.scores[objects], found.labels[objects], masks),
            panoptic=found,
        )
