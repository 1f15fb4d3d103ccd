"""Base of FCN, DeepLab and PSPNet: a dilated backbone and a head."""

from __future__ import annotations

from collections import defaultdict

from torch import Tensor, nn
from torch.nn import functional as F
from torchvision.models.segmentation.fcn import FCNHead

from segbench.contract.view import View
from segbench.errors import SegbenchError
from segbench.models.layers.backbones import Backbone
from segbench.models.network import Activation, SemanticNetwork


class DilatedNetwork(SemanticNetwork):
    """Base of networks with a `head` on a dilated backbone, and bilinear upsampling to the input's size.

    Args:
        view: task and classes to predict.
        in_channels: channels of the images.
        backbone: timm name of the backbone.
        output_stride: 8 or 16; 32 for backbones that cannot be dilated.
        auxiliary_weight: weight of the losses of a second head on the last stage but one, used in training
            only (Zhao et al. 2017); with 0 there is no such head.
        align_corners: whether upsampling aligns the corners of logits and images.
        frozen_norm: fix the batch norms of the backbone, see `Backbone`.
        loss, activation: see `SemanticNetwork`.
    """

    head: nn.Module

    def __init__(
        self,
        view: View,
        in_channels: int,
        backbone: str = "resnet50",
        output_stride: int = 8,
        auxiliary_weight: float = 0.5,
        align_corners: bool = False,
        frozen_norm: bool = False,
        loss: dict[str, float] | None = None,
        activation: Activation = "softmax",
    ) -> None:
        super().__init__(view, in_channels, loss, activation)
        self.backbone = Backbone(backbone, in_channels, output_stride=output_stride, frozen_norm=frozen_norm)
        self.auxiliary_weight, self.align_corners = auxiliary_weight, align_corners
        if auxiliary_weight:
            self.auxiliary = FCNHead(self.backbone.channels[-2], self.outputs)

    def classify(self, features: list[Tensor]) -> Tensor:
        """Compute B x classes x h x w logits from all features of the backbone."""
        return self.head(features[-1])

    def forward(self, images: Tensor) -> Tensor:
        return self._upsample(self.classify(self.backbone(images)), images)

    def training_logits(self, images: Tensor) -> tuple[Tensor, Tensor | None]:
        features = self.backbone(images)
        logits = self._upsample(self.classify(features), images)
        if not self.auxiliary_weight:
            return logits, None
        return logits, self._upsample(self.auxiliary(features[-2]), images)

    def _upsample(self, logits: Tensor, images: Tensor) -> Tensor:
        return F.interpolate(logits, images.shape[-2:], mode="bilinear", align_corners=self.align_corners)


def load_torchvision(network: DilatedNetwork, state: dict[str, Tensor]) -> None:
    """Load a state dict of `torchvision.models.segmentation` (FCN or DeepLabV3 on a ResNet).

    Raises:
        SegbenchError: the weights belong to another network, backbone or number of classes.
    """
    parts: dict[str, dict[str, Tensor]] = defaultdict(dict)
    for name, value in state.items():
        part, _, rest = name.partition(".")
        parts[part][rest] = value
    network.backbone.load(parts["backbone"])
    try:
        network.head.load_state_dict(parts["classifier"])
        if network.auxiliary_weight:
            network.auxiliary.load_state_dict(parts["aux_classifier"])
    except RuntimeError as error:
        kind, classes = type(network).__name__, len(network.view.classes)
        raise SegbenchError(
            f"the weights do not fit {kind} with {classes} classes: {error}",
            where="weights",
            remedy="name weights of the same network for the same classes, the background among them",
        ) from error
