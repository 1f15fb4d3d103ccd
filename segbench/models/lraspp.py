"""Lite R-ASPP: Howard et al. 2019, "Searching for MobileNetV3" (1905.02244)."""

from __future__ import annotations

from typing import Any

from torch import Tensor
from torchvision.models.segmentation.lraspp import LRASPPHead

from segbench.contract.view import View
from segbench.errors import SegbenchError
from segbench.models.bases.dilated import DilatedNetwork

FINE = 8
"""Stride of the features that are added to those of the last stage."""


class LRASPP(DilatedNetwork):
    """torchvision's `lraspp_mobilenet_v3_large`, with any backbone that has features of stride 8.

    The features of stride 8 are those of the last block; torchvision takes those of the first one.

    Args:
        view: task and classes to predict.
        in_channels: channels of the images.
        backbone, output_stride: see `DilatedNetwork`.
        auxiliary_weight: see `DilatedNetwork`; by default there is no auxiliary head.
        channels: channels of the head.
        options: arguments of `DilatedNetwork`.

    Raises:
        SegbenchError: the backbone has no features of stride 8.
    """

    def __init__(
        self,
        view: View,
        in_channels: int,
        backbone: str = "mobilenetv3_large_100",
        output_stride: int = 16,
        auxiliary_weight: float = 0.0,
        channels: int = 128,
        **options: Any,
    ) -> None:
        super().__init__(view, in_channels, backbone, output_stride, auxiliary_weight, **options)
        if FINE not in self.backbone.reductions:
            raise SegbenchError(
                f"'{backbone}' has features of stride {', '.join(map(str, self.backbone.reductions))} only",
                where="backbone",
                remedy=f"choose a backbone with features of stride {FINE}, such as mobilenetv3_large_100",
            )
        self.fine = self.backbone.reductions.index(FINE)
        low, high = self.backbone.channels[self.fine], self.backbone.channels[-1]
        self.head = LRASPPHead(low, high, self.outputs, channels)

    def classify(self, features: list[Tensor]) -> Tensor:
        return self.head({"low": features[self.fine], "high": features[-1]})
