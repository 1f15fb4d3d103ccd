"""FCN-32s, 16s and 8s: Shelhamer, Long, Darrell 2016, "Fully Convolutional Networks" (1605.06211)."""

from __future__ import annotations

from typing import Literal

import torch
from timm.models.vgg import ConvMlp
from torch import Tensor, nn
from torch.nn import functional as F

from segbench.contract.view import View
from segbench.models.layers.backbones import Backbone, pad_to_multiple
from segbench.models.network import Activation, SemanticNetwork


class BilinearUp(nn.ConvTranspose2d):
    """Learned upsampling, initialised as bilinear interpolation (except at the border).

    With kernel 2f, stride f and padding f / 2, the output is exactly f times as large as the input, and
    aligned by pixel centres.

    Args:
        channels: channels of input and output.
        factor: f, an even number.
        groups: groups of channels that do not mix.
    """

    def __init__(self, channels: int, factor: int, groups: int = 1) -> None:
        super().__init__(
            channels, channels, 2 * factor, stride=factor, padding=factor // 2, groups=groups, bias=False
        )
        offset = (torch.arange(2 * factor) + 0.5) / factor - 1
        hat = 1 - offset.abs()
        with torch.no_grad():
            self.weight.zero_()
            for i in range(channels):
                self.weight[i, i % self.weight.shape[1]] = hat[:, None] * hat


class FCN(SemanticNetwork):
    """Class scores at strides 32, 16 and 8, down to `stride`, added from coarse to fine, then upsampled.

    With a VGG, `fc6` and `fc7` are the classifier's convolutions (7x7 and 1x1), and the skips start at pool4
    and pool3, as in the paper. Other backbones provide their features of stride 32, 16 and 8. Score layers
    are initialised with zeros, as in the paper. They are named by their stride, so that FCN-16s and 8s can
    load the layers that they share with the coarser network.

    The paper pads the input by 100 pixels and crops the output with an offset. Here, images are padded to a
    multiple of 32 and fc6 pads by 3. All levels are thus aligned, and images may have any size.

    Args:
        view: task and classes to predict.
        in_channels: channels of the images.
        backbone: timm name of the backbone.
        stride: stride of the finest scores.
        fc_channels: channels of fc6 and fc7; used with a VGG only.
        dropout: dropout after fc6 and fc7, or after the features of stride 32 of other backbones.
        mixed_upsampling: every class contributes to the upsampled score of every other, as in the paper.
            False: each class has its own filter, which costs far less with many classes.
        frozen_norm: see `Backbone`.
        loss, activation: see `SemanticNetwork`.
    """

    def __init__(
        self,
        view: View,
        in_channels: int,
        backbone: str = "vgg16",
        stride: Literal[8, 16, 32] = 8,
        fc_channels: int = 4096,
        dropout: float = 0.5,
        mixed_upsampling: bool = True,
        frozen_norm: bool = False,
        loss: dict[str, float] | None = None,
        activation: Activation = "softmax",
    ) -> None:
        super().__init__(view, in_channels, loss, activation)
        classes = self.outputs
        self.backbone = Backbone(backbone, in_channels, frozen_norm=frozen_norm)
        self.strides = [s for s in (32, 16, 8) if s >= stride]
        self.is_vgg = backbone.startswith("vgg")
        channels = dict(zip(self.backbone.reductions, self.backbone.channels))
        self.fc: nn.Module = nn.Identity()
        if self.is_vgg:
            self.fc = ConvMlp(channels[32], fc_channels, kernel_size=7, drop_rate=dropout)
            # timm's features end before each pooling; pooling those of stride s / 2 gives those of stride s
            channels = {32: fc_channels, 16: channels[8], 8: channels[4]}
        self.dropout = nn.Dropout(dropout)
        self.scores = nn.ModuleDict({str(s): nn.Conv2d(channels[s], classes, 1) for s in self.strides})
        for parameter in self.scores.parameters():
            nn.init.zeros_(parameter)
        groups = 1 if mixed_upsampling else classes
        self.fuse = nn.ModuleDict({str(s): BilinearUp(classes, 2, groups) for s in self.strides[:-1]})
        self.upsample = BilinearUp(classes, stride, groups)

    def features(self, images: Tensor) -> dict[int, Tensor]:
        """Compute features by stride s = 32, 16, 8: B x channels x H / s x W / s.

        Args:
            images: B x in_channels x H x W, with H and W multiples of 32.
        """
        by_stride = dict(zip(self.backbone.reductions, self.backbone(images)))
        if self.is_vgg:
            by_stride = {
                32: self.fc(F.pad(by_stride[32], (3, 3, 3, 3))),
                **{s: F.max_pool2d(by_stride[s // 2], 2) for s in self.strides[1:]},
            }
        by_stride[32] = self.dropout(by_stride[32])
        return by_stride

    def forward(self, images: Tensor) -> Tensor:
        height, width = images.shape[-2:]
        features = self.features(pad_to_multiple(images, 32))
        logits = self.scores["32"](features[32])
        for coarse, fine in zip(self.strides, self.strides[1:]):
            logits = self.fuse[str(coarse)](logits) + self.scores[str(fine)](features[fine])
        return self.upsample(logits)[..., :height, :width]

    def load_backbone(self, state: dict[str, Tensor]) -> None:
        """Load a timm backbone, and fc6 and fc7 of a VGG if `fc_channels` matches."""
        super().load_backbone(state)
        fc = {k.removeprefix("pre_logits."): v for k, v in state.items() if k.startswith("pre_logits.")}
        own = self.fc.state_dict()
        if fc and {k: v.shape for k, v in fc.items()} == {k: v.shape for k, v in own.items()}:
            self.fc.load_state_dict(fc)
