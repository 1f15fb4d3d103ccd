"""FCN on a dilated backbone, as in torchvision: Shelhamer et al. 2016 (1605.06211)."""

from __future__ import annotations

from typing import Any

from torchvision.models.segmentation.fcn import FCNHead

from segbench.contract.view import View
from segbench.models.bases.dilated import DilatedNetwork
from segbench.models.layers.weight_decay import backbone_tables


class DilatedFCN(DilatedNetwork):
    """Equal to torchvision's `fcn_resnet50`: a head of two convolutions.

    Args:
        view: task and classes to predict.
        in_channels: channels of the images.
        options: arguments of `DilatedNetwork`.
    """

    def __init__(self, view: View, in_channels: int, **options: Any) -> None:
        super().__init__(view, in_channels, **options)
        self.head = FCNHead(self.backbone.channels[-1], self.outputs)

    def no_weight_decay(self) -> set[str]:
        """Name position tables; norms and biases decay, as in torchvision's `references/segmentation`."""
        return backbone_tables(self)
