import pytest
import segmentation_models_pytorch as smp
import torch
from mapped_weights import load_in_order
from network_tester import SKY, NetworkTester, batch, make_view
from torch import nn

from segbench.contract.view import View
from segbench.models.deeplabv3plus import DeepLabV3Plus

VOC = View("semantic", (SKY,) * 21)


class TestDeepLabV3Plus(NetworkTester):
    network = DeepLabV3Plus
    backbone = "test_resnet"
    options = {"backbone": "test_resnet", "channels": 32, "low_channels": 16}
    backbones = ("tf_efficientnet_lite0", "resnet18", "convnext_atto")
    enough = 0.9  # stride 4, objects of 20 pixels


@pytest.mark.parametrize("output_stride", [16, 8])
def test_equals_segmentation_models_pytorch(output_stride):
    """The library accepts only multiples of the stride; without its last upsampling, all can be compared."""
    torch.manual_seed(0)
    options = {"upsampling": 4, "encoder_output_stride": output_stride}
    oracle = smp.DeepLabV3Plus("tu-resnet50", encoder_weights=None, classes=21, **options)
    images = torch.randn(2, 3, 80, 112)
    with torch.no_grad():
        oracle.train()(images)  # statistics other than 0 and 1
        expected = oracle.eval()(images)
    rates = (12, 24, 36) if output_stride == 16 else (6, 12, 18)
    network = DeepLabV3Plus(
        VOC,
        3,
        output_stride=output_stride,
        rates=rates,
        convolutions=(1, 1),
        depthwise_norm=False,
        align_corners=True,
    ).eval()
    load_in_order(network.backbone, [oracle.encoder])
    load_in_order(network.context, [oracle.decoder.aspp])
    load_in_order(network.reduce, [oracle.decoder.block1])
    load_in_order(network.head, [oracle.decoder.block2, oracle.segmentation_head])
    odd = torch.randn(1, 3, 45, 79)
    with torch.no_grad():
        torch.testing.assert_close(network(images), expected, rtol=0, atol=1e-4)
        logits = network.classify(network.backbone(odd))
        expected = oracle.segmentation_head[0](oracle.decoder(oracle.encoder(odd)))
        torch.testing.assert_close(logits, expected, rtol=0, atol=1e-4)


def test_has_the_decoder_of_the_paper():
    """Features of stride 4 reduced to 48, concatenated with 256, two separable 3x3 convolutions of 256."""
    with torch.device("meta"):
        network = DeepLabV3Plus(VOC, 3)
    assert network.reduce[0].weight.shape == (48, 256, 1, 1)
    depthwise = [m for m in network.head.modules() if isinstance(m, nn.Conv2d) and m.groups > 1]
    assert [m.weight.shape for m in depthwise] == [(304, 1, 3, 3), (256, 1, 3, 3)]
    assert [conv[0][0].dilation[0] for conv in network.context[0].convs[1:4]] == [6, 12, 18]
    assert sum(p.numel() for p in network.head.parameters()) == (
        304 * 9 + 2 * 304 + 304 * 256 + 2 * 256 + 256 * 9 + 2 * 256 + 256 * 256 + 2 * 256 + 257 * 21
    )


def test_trains_on_a_single_image():
    network = DeepLabV3Plus(make_view("semantic"), 3, backbone="test_resnet", channels=8).train()
    assert torch.isfinite(sum(network.losses(*batch("semantic", 1, (64, 64))).values()))
