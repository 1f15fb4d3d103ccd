"""LinkNet: Chaurasia, Culurciello 2017, "Exploiting Encoder Representations" (1707.03718)."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F
from torchvision.ops import Conv2dNormActivation

from segbench.contract.view import View
from segbench.models.layers.backbones import Backbone, pad_to_multiple
from segbench.models.network import Activation, SemanticNetwork


def up_conv(inputs: int, outputs: int, stride: int) -> nn.Sequential:
    """Make a 3x3 transposed convolution to `stride` times the size, with batch norm and ReLU."""
    return nn.Sequential(
        nn.ConvTranspose2d(inputs, outputs, 3, stride, padding=1, output_padding=stride - 1, bias=False),
        nn.BatchNorm2d(outputs),
        nn.ReLU(inplace=True),
    )


class Decoder(nn.Sequential):
    """1x1 convolution to a quarter of the channels, transposed 3x3 convolution, 1x1 convolution."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        narrow = inputs // 4
        super().__init__(
            Conv2dNormActivation(inputs, narrow, 1),
            up_conv(narrow, narrow, stride),
            Conv2dNormActivation(narrow, outputs, 1),
        )


class LinkNet(SemanticNetwork):
    """A network that adds the input of each encoder stage to the output of the matching decoder stage.

    The paper's backbone is ResNet-18. Others need features of stride 4, 8, 16 and 32; if they have none of
    stride 2, nothing is added to the output of the last decoder. Images may have any size.

    Args:
        view: task and classes to predict.
        in_channels: channels of the images.
        backbone: timm name of the backbone.
        frozen_norm: see `Backbone`.
        loss, activation: see `SemanticNetwork`.
    """

    def __init__(
        self,
        view: View,
        in_channels: int,
        backbone: str = "resnet34",
        frozen_norm: bool = False,
        loss: dict[str, float] | None = None,
        activation: Activation = "softmax",
    ) -> None:
        super().__init__(view, in_channels, loss, activation)
        self.backbone = Backbone(backbone, in_channels, frozen_norm=frozen_norm)
        *stem, quarter, eighth, sixteenth, last = self.backbone.channels
        first = stem[-1] if stem else quarter
        self.decoders = nn.ModuleList(
            [
                Decoder(last, sixteenth, 2),
                Decoder(sixteenth, eighth, 2),
                Decoder(eighth, quarter, 2),
                Decoder(quarter, first, 1),
            ]
        )
        self.head = nn.Sequential(
            up_conv(first, 32, 2),
            Conv2dNormActivation(32, 32, 3),
            nn.ConvTranspose2d(32, self.outputs, 2, 2),
        )

    def forward(self, images: Tensor) -> Tensor:
        height, width = images.shape[-2:]
        *stem, quarter, eighth, sixteenth, x = self.backbone(pad_to_multiple(images, 32))
        skips = [sixteenth, eighth, quarter]
        if stem:
            skips.append(F.max_pool2d(stem[-1], 3, 2, 1))
        for number, decoder in enumerate(self.decoders):
            x = decoder(x)
            if number < len(skips):
                x = x + skips[number]
        return self.head(x)[..., :height, :width]
