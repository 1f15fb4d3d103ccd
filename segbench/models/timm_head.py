"""A backbone of timm with a linear head, as in linear probes, or with that of UPerNet."""

from __future__ import annotations

from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from segbench.contract.view import View
from segbench.errors import SegbenchError
from segbench.models.layers.backbones import Backbone, pad_to_multiple
from segbench.models.layers.upernet import UPerHead
from segbench.models.network import SemanticNetwork

PYRAMID = (4.0, 2.0, 1.0, 0.5)
"""Factors on the size of the levels of a backbone without a pyramid, such as a Vision Transformer."""


class TimmHead(SemanticNetwork):
    """Any timm backbone that gives features, and a head; logits are enlarged bilinearly to the image.

    A linear head is a batch norm and a linear layer on the last levels, as in DINOv2 (Oquab et al. 2023,
    2304.07193, section 7.4). Images are padded to a multiple of the patch, or of the stride of the coarsest
    level; the position embeddings of Vision Transformers are resized. The recipe's `backbone_lr_factor: 0`
    freezes the backbone.

    Args:
        view: task and classes to predict.
        in_channels: channels of the images.
        backbone: timm name of the backbone.
        head: linear, or upernet with four levels.
        levels: number of last levels that a linear head takes, resized to the finest of them. Levels are
            blocks in a Vision Transformer, else stages.
        channels: channels of the head `upernet`.
        frozen_norm: fix the batch norms of the backbone, see `Backbone`.
        options: arguments of `SemanticNetwork`.
    """

    def __init__(
        self,
        view: View,
        in_channels: int,
        backbone: str = "vit_small_patch14_dinov2",
        head: Literal["linear", "upernet"] = "linear",
        levels: int = 1,
        channels: int = 512,
        frozen_norm: bool = False,
        **options: Any,
    ) -> None:
        super().__init__(view, in_channels, **options)
        count = levels if head == "linear" else len(PYRAMID)
        self.backbone = any_size_backbone(backbone, in_channels, count, frozen_norm)
        found = self.backbone.channels
        self.multiple = max(self.backbone.reductions)
        self.flat = len(set(self.backbone.reductions)) == 1
        self.head: nn.Module
        if head == "linear":
            width = sum(found)
            classifier = nn.Conv2d(width, self.outputs, 1)
            nn.init.normal_(classifier.weight, std=0.01)
            nn.init.zeros_(classifier.get_parameter("bias"))
            self.head = nn.Sequential(nn.BatchNorm2d(width), classifier)
        else:
            self.head = nn.Sequential(UPerHead(found, channels), nn.Conv2d(channels, self.outputs, 1))
        self.linear = head == "linear"

    def forward(self, images: Tensor) -> Tensor:
        """B x C x H x W -> logits B x outputs x H x W."""
        padded = pad_to_multiple(images, self.multiple)
        features = self.backbone(padded)
        if self.linear:
            logits = self.head(torch.cat([_resized(one, features[0].shape[-2:]) for one in features], 1))
        else:
            logits = self.head(self._pyramid(features))
        height, width = images.shape[-2:]
        return _resized(logits, padded.shape[-2:])[..., :height, :width]

    def _pyramid(self, features: list[Tensor]) -> list[Tensor]:
        """Return levels of falling size: those of the backbone, or its blocks resized as in BEiT."""
        if not self.flat:
            return features
        height, width = features[0].shape[-2:]
        sizes = [(max(1, round(f * height)), max(1, round(f * width))) for f in PYRAMID]
        return [_resized(one, size) for one, size in zip(features, sizes)]


def any_size_backbone(name: str, channels: int, levels: int, frozen_norm: bool) -> Backbone:
    """Build a backbone with its last levels; a Vision Transformer takes images of any size."""
    out = tuple(range(-levels, 0))
    try:
        return Backbone(name, channels, out, frozen_norm=frozen_norm, dynamic_img_size=True)
    except SegbenchError as error:
        if "argument 'dynamic_img_size'" not in error.what:
            raise
    backbone = Backbone(name, channels, out, frozen_norm=frozen_norm)
    patches: Any = getattr(backbone.net.model, "patch_embed", None)
    if getattr(patches, "strict_img_size", False):
        height, width = patches.img_size
        raise SegbenchError(
            f"'{name}' takes images of {height} x {width} pixels only",
            where="backbone",
            remedy="choose another backbone, such as vit_small_patch14_dinov2",
        )
    return backbone


def _resized(values: Tensor, size: torch.Size | tuple[int, int]) -> Tensor:
    return values if values.shape[-2:] == size else F.interpolate(values, size, mode="bilinear")
