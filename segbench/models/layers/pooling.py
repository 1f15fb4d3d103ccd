"""Pooling over the image or large parts of it, enlarged to the size of the input again."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F


class PooledBatchNorm2d(nn.BatchNorm2d):
    """Batch norm that also trains on one value a channel (one image pooled to 1 x 1).

    One value has no variance, so the running statistics are used instead, and not updated.
    """

    def forward(self, x: Tensor) -> Tensor:
        if self.training and x.numel() == self.num_features:
            return F.batch_norm(x, self.running_mean, self.running_var, self.weight, self.bias, eps=self.eps)
        return super().forward(x)


class PooledConv(nn.Sequential):
    """Mean over bins x bins parts, 1x1 convolution, batch norm, ReLU; then bilinear, to the input's size."""

    def __init__(self, inputs: int, outputs: int, bins: int, align_corners: bool = False) -> None:
        super().__init__(
            nn.AdaptiveAvgPool2d(bins),
            nn.Conv2d(inputs, outputs, 1, bias=False),
            PooledBatchNorm2d(outputs),
            nn.ReLU(inplace=True),
        )
        self.align_corners = align_corners

    def forward(self, x: Tensor) -> Tensor:
        return F.interpolate(
            super().forward(x), x.shape[-2:], mode="bilinear", align_corners=self.align_corners
        )
