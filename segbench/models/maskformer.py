"""MaskFormer: Cheng, Schwing, Kirillov 2021, "Per-Pixel Classification is Not All You Need" (2107.06278).

Void pixels and padding, which the authors' code (github.com/facebookresearch/MaskFormer) counts as outside of
every mask, are excluded from the mask losses.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torchvision.ops import Conv2dNormActivation

from segbench.contract.view import View
from segbench.models.bases.mask_classifier import MASK_STRIDE, MaskClassifier
from segbench.models.layers.mask_queries import MaskQueries, mask_embedding
from segbench.models.layers.position import sine_position
from segbench.models.layers.transformer import DecoderLayer
from segbench.models.losses.masks import mask_focal, pairwise_focal
from segbench.models.losses.segments import Segments
from segbench.models.losses.set_criterion import SetCriterion

group_norm = functools.partial(nn.GroupNorm, 32)


class PixelDecoder(nn.Module):
    """A feature pyramid (section 3.3): features of stride 4, 8, 16, 32 -> mask features of stride 4.

    From coarse to fine each level is enlarged, the projected finer one added, and both are convolved.
    """

    def __init__(self, in_channels: Sequence[int], channels: int) -> None:
        super().__init__()
        *finer, coarsest = in_channels
        conv = functools.partial(Conv2dNormActivation, norm_layer=group_norm)
        self.stem = conv(coarsest, channels)
        self.laterals = nn.ModuleList(conv(n, channels, 1, activation_layer=None) for n in reversed(finer))
        self.outputs = nn.ModuleList(conv(channels, channels) for _ in finer)
        self.mask_projection = nn.Conv2d(channels, channels, 3, padding=1)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_uniform_(module.weight, a=1)  # "Xavier" of Caffe2
        nn.init.zeros_(self.mask_projection.get_parameter("bias"))

    def forward(self, features: Sequence[Tensor]) -> Tensor:
        x = self.stem(features[-1])
        for lateral, output, level in zip(self.laterals, self.outputs, reversed(features[:-1])):
            x = output(F.interpolate(x, size=level.shape[-2:]) + lateral(level))
        return self.mask_projection(x)


class QueryDecoder(nn.Module):
    """DETR's decoder on the coarsest features; every layer's queries are classified and give masks."""

    def __init__(
        self,
        classes: int,
        in_channels: int,
        channels: int,
        queries: int,
        heads: int,
        layers: int,
        feedforward: int,
        dropout: float,
    ) -> None:
        super().__init__()
        self.projection = nn.Conv2d(in_channels, channels, 1)
        nn.init.kaiming_uniform_(self.projection.weight, a=1)
        nn.init.zeros_(self.projection.get_parameter("bias"))
        self.query_places = nn.Parameter(torch.randn(queries, channels))
        self.layers = nn.ModuleList(
            DecoderLayer(channels, heads, feedforward, dropout, self_first=True) for _ in range(layers)
        )
        self.norm = nn.LayerNorm(channels)
        self.classifier = nn.Linear(channels, classes + 1)
        self.mask_embedding = mask_embedding(channels)

    def forward(self, coarsest: Tensor, mask_features: Tensor) -> MaskQueries:
        level = self.projection(coarsest)
        pixels = level.flatten(2).mT
        height, width = level.shape[2:]
        position = sine_position(height, width, level.shape[1], level.device).flatten(2).mT
        place = self.query_places.repeat(len(level), 1, 1)
        query = torch.zeros_like(place)
        outputs = []
        for layer in self.layers:
            query = layer(query, place, pixels, position)
            outputs.append(self.norm(query))
        states = torch.stack(outputs)
        return MaskQueries(self.classifier(states), self.mask_embedding(states), mask_features)


class Criterion(SetCriterion):
    """Focal loss and Dice: at the masks' resolution in the matching, at the truth's in the losses."""

    pairwise_mask = staticmethod(pairwise_focal)
    matched_mask = staticmethod(mask_focal)

    def __init__(
        self,
        class_weight: float = 1.0,
        mask_weight: float = 20.0,
        dice_weight: float = 1.0,
        no_object_weight: float = 0.1,
    ) -> None:
        super().__init__(class_weight, mask_weight, dice_weight, no_object_weight)

    def compared(self, features: Tensor, truth: Tensor, segments: Segments) -> tuple[Tensor, Tensor, Tensor]:
        truth = truth[:, 0, ::MASK_STRIDE, ::MASK_STRIDE]
        weight = segments.valid[:, ::MASK_STRIDE, ::MASK_STRIDE].float()
        height, width = weight.shape[1:]
        features = features[:, :, :height, :width]
        return features.flatten(2), segments.by_image(truth.flatten(1)), weight.flatten(1)

    def scored(self, masks: Tensor, truth: Tensor, segments: Segments) -> tuple[Tensor, Tensor, Tensor]:
        height, width = truth.shape[2:]
        masks = F.interpolate(masks, scale_factor=MASK_STRIDE, mode="bilinear", align_corners=False)
        logits = masks[:, :, :height, :width].flatten(1)
        return logits, truth.flatten(1), segments.valid[segments.image].flatten(1).float()


class MaskFormer(MaskClassifier):
    """Queries that attend to the coarsest features, and a feature pyramid for their masks.

    Args:
        view: task and classes to predict.
        in_channels: channels of the images.
        hidden_dim: channels of both decoders; a multiple of 32 and of `heads`.
        queries: number of queries, the maximum number of segments per image.
        heads: attention heads.
        decoder_layers: layers of the query decoder.
        decoder_feedforward: hidden width of their feed-forward networks.
        dropout: dropout in the query decoder.
        loss: arguments of `Criterion`.
        options: arguments of `MaskClassifier`.
    """

    def __init__(
        self,
        view: View,
        in_channels: int,
        hidden_dim: int = 256,
        queries: int = 100,
        heads: int = 8,
        decoder_layers: int = 6,
        decoder_feedforward: int = 2048,
        dropout: float = 0.1,
        loss: dict[str, Any] | None = None,
        **options: Any,
    ) -> None:
        super().__init__(view, in_channels, **options)
        self.pixel_decoder = PixelDecoder(self.backbone.channels, hidden_dim)
        self.query_decoder = QueryDecoder(
            len(view.classes),
            self.backbone.channels[-1],
            hidden_dim,
            queries,
            heads,
            decoder_layers,
            decoder_feedforward,
            dropout,
        )
        self.criterion = Criterion(**(loss or {}))

    def decode(self, features: list[Tensor]) -> MaskQueries:
        return self.query_decoder(features[-1], self.pixel_decoder(features))
