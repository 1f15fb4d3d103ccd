"""Mask R-CNN with batch norms and deeper heads, as in torchvision: Li et al. 2021 (2111.11429)."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn
from torch.nn import functional as F
from torchvision.models.detection.faster_rcnn import FastRCNNConvFCHead
from torchvision.models.detection.mask_rcnn import MaskRCNNHeads
from torchvision.models.detection.rpn import RPNHead
from torchvision.ops import FeaturePyramidNetwork

from segbench.contract.view import View
from segbench.models.layers.full_precision import keep_float
from segbench.models.mask_rcnn import MaskRCNN


class RegionNorm(nn.BatchNorm2d):
    """Batch norm whose running statistics stay as they are where there is no region."""

    def forward(self, x: Tensor) -> Tensor:
        if len(x):
            return super().forward(x)
        return F.batch_norm(x, self.running_mean, self.running_var, self.weight, self.bias, eps=self.eps)


class MaskRCNNV2(MaskRCNN):
    """Equal to torchvision's `maskrcnn_resnet50_fpn_v2`, except that images come normalised and resized.

    Unlike Mask R-CNN, the pyramid and the heads have batch norms, the region proposals a second convolution,
    and the box head four convolutions before its linear layer.

    Args:
        view: task and classes to predict.
        in_channels: channels of the images.
        box_channels: channels of the box head's linear layer; its convolutions have those of the pyramid.
        mask_channels: channels of the mask head.
        aspect_ratios: height over width of the anchors.
        options: arguments of `MaskRCNN`.
    """

    def __init__(
        self,
        view: View,
        in_channels: int,
        *,
        box_channels: int = 1024,
        mask_channels: int = 256,
        aspect_ratios: tuple[float, ...] = (0.5, 1.0, 2.0),
        **options: Any,
    ) -> None:
        super().__init__(
            view,
            in_channels,
            mask_channels=mask_channels,
            box_channels=box_channels,
            aspect_ratios=aspect_ratios,
            **options,
        )
        width, extra = self.fpn_channels, self.extra_levels(self.fpn_channels)
        self.fpn = FeaturePyramidNetwork(self.backbone.channels, width, extra, nn.BatchNorm2d)
        self.rpn.head = RPNHead(width, len(aspect_ratios), conv_depth=2)
        keep_float(self.fpn, self.rpn.head)
        heads = self.roi_heads
        heads.box_head = FastRCNNConvFCHead((width, 7, 7), [width] * 4, [box_channels], RegionNorm)
        heads.mask_head = MaskRCNNHeads(width, [mask_channels] * 4, 1, RegionNorm)
