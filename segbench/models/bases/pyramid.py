"""Feature pyramid networks: Lin et al. 2017 (1612.03144)."""

from __future__ import annotations

from typing import ClassVar

from torch import Tensor
from torchvision.ops import FeaturePyramidNetwork
from torchvision.ops.feature_pyramid_network import ExtraFPNBlock, LastLevelMaxPool

from segbench.contract.view import View
from segbench.models.layers.backbones import Backbone, pad_to_multiple
from segbench.models.layers.weight_decay import backbone_tables, norm_parameters
from segbench.models.network import Network

STRIDE = 32
"""Stride of the backbone's coarsest level; images are padded to a multiple of it."""


class PyramidNetwork(Network):
    """Base of the networks on a feature pyramid.

    The last `depth` levels of the backbone are merged from coarse to fine, then `extra_levels` adds coarser
    ones. Every level has `fpn_channels` channels. Subclasses pass their `**options` on to this constructor.

    Args:
        view: classes to predict.
        in_channels: channels of the images.
        backbone: timm name of the backbone.
        frozen_norm: fix the batch norms of the backbone, see `Backbone`.
        fpn_channels: channels of every level of the pyramid.
    """

    depth: ClassVar[int] = 4
    """Number of levels taken from the backbone, counted from the coarsest one."""

    def __init__(
        self,
        view: View,
        in_channels: int,
        backbone: str = "resnet50",
        frozen_norm: bool = False,
        fpn_channels: int = 256,
    ) -> None:
        super().__init__(view, in_channels)
        self.fpn_channels = fpn_channels
        extra = self.extra_levels(fpn_channels)
        self.backbone = Backbone(backbone, in_channels, range(-self.depth, 0), frozen_norm=frozen_norm)
        self.fpn = FeaturePyramidNetwork(self.backbone.channels, fpn_channels, extra)

    def no_weight_decay(self) -> set[str]:
        """Name norms and position tables; biases decay, as in detectron2 and AdelaiDet."""
        return norm_parameters(self) | backbone_tables(self)

    @staticmethod
    def extra_levels(channels: int) -> ExtraFPNBlock:
        """Make the block that adds coarser levels; by default the coarsest level, subsampled by two."""
        return LastLevelMaxPool()

    def levels(self, images: Tensor) -> dict[str, Tensor]:
        """Compute the pyramid of B x in_channels x H x W images, padded to a multiple of 32.

        Returns:
            Levels from fine to coarse, each B x fpn_channels x h x w: "0", "1", ..., then the extra ones.
        """
        features = self.backbone(pad_to_multiple(images, STRIDE))
        return self.fpn({str(i): f for i, f in enumerate(features)})
