"""Feature pyramid networks: Lin et al. 2017 (1612.03144)."""

from __future__ import annotations

from torch import Tensor
from torchvision.ops import FeaturePyramidNetwork
from torchvision.ops.feature_pyramid_network import ExtraFPNBlock

from segbench.data.dataset import View
from segbench.models.layers.backbones import Backbone, pad_to_multiple
from segbench.models.network import Network

STRIDE = 32
"""Of the backbone's coarsest level; images are padded to a multiple of it."""


class PyramidNetwork(Network):
    """A network on the last `depth` levels of a backbone, merged from coarse to fine into `channels` each.

    extra: adds coarser levels. frozen_norm: see `Backbone`.
    """

    def __init__(
        self,
        view: View,
        in_channels: int,
        backbone: str,
        frozen_norm: bool,
        channels: int,
        depth: int,
        extra: ExtraFPNBlock,
    ) -> None:
        super().__init__(view, in_channels)
        self.backbone = Backbone(backbone, in_channels, range(-depth, 0), frozen_norm=frozen_norm)
        self.fpn = FeaturePyramidNetwork(self.backbone.channels, channels, extra)

    def levels(self, images: Tensor) -> dict[str, Tensor]:
        """Features from fine to coarse, of the images padded at the right and below: "0", "1", ..., extra."""
        features = self.backbone(pad_to_multiple(images, STRIDE))
        return self.fpn({str(i): f for i, f in enumerate(features)})
