"""The entry `unet_mini`: the survey's small U-Net as options of `UNet`."""

from pathlib import Path

import torch
import yaml
from network_tester import SKY, NetworkTester
from torch import nn

from segbench.contract.view import View
from segbench.models.unet import UNet

ENTRY = yaml.safe_load((Path(__file__).parents[2] / "config" / "models" / "unet_mini.yaml").read_text())


class TestUNetMini(NetworkTester):
    network = UNet
    lr = 0.01
    options = ENTRY["options"]


def test_has_the_surveys_layers():
    """8 to 128 channels and back; batch norm after every convolution, even transposed, except the last."""
    with torch.device("meta"):
        network = UNet(View("semantic", (SKY,)), 1, **ENTRY["options"])
    layers = [m for m in network.modules() if isinstance(m, (nn.Conv2d, nn.ConvTranspose2d, nn.BatchNorm2d))]
    *convolutions, last = [m for m in layers if not isinstance(m, nn.BatchNorm2d)]
    assert all(conv.bias is None for conv in convolutions) and last.bias is not None
    assert layers[1:-1:2] == [m for m in layers if isinstance(m, nn.BatchNorm2d)]
    down = [8, 8, 16, 16, 32, 32, 64, 64, 128, 128]
    up = [64, 64, 64, 32, 32, 32, 16, 16, 16, 8, 8, 8]
    assert [conv.out_channels for conv in convolutions] == down + up

    expected, inputs = 0, 1
    for width in (8, 16, 32, 64, 128):
        expected += 9 * (inputs + width) * width + 4 * width
        inputs = width
    for width in (64, 32, 16, 8):
        expected += 4 * 2 * width * width + 2 * width  # transposed, from twice the channels
        expected += 9 * (2 * width + width) * width + 4 * width
    assert sum(p.numel() for p in network.parameters()) == expected + 8 + 1
