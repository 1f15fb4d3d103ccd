import pytest
import torch
from network_tester import SKY, NetworkTester, batch, make_view
from torchvision.models.segmentation import deeplabv3_resnet50

from segbench.contract.view import View
from segbench.models.bases.dilated import load_torchvision
from segbench.models.deeplabv3 import DeepLabV3

VOC = View("semantic", (SKY,) * 21)


class TestDeepLabV3(NetworkTester):
    network = DeepLabV3
    backbone = "test_resnet"
    options = {"backbone": "test_resnet", "channels": 32, "dropout": 0.1}
    backbones = ("tf_efficientnet_lite0", "resnet18", "convnext_atto")
    enough = 0.9  # stride 8, objects of 20 pixels


def test_equals_torchvision():
    torch.manual_seed(0)
    oracle = deeplabv3_resnet50(weights=None, weights_backbone=None, aux_loss=True)
    oracle(torch.randn(2, 3, 64, 96))  # statistics other than 0 and 1
    oracle.eval()
    network = DeepLabV3(VOC, 3).eval()
    load_torchvision(network, oracle.state_dict())
    images = torch.randn(2, 3, 75, 98)
    with torch.no_grad():
        logits, auxiliary = network.training_logits(images)
        expected = oracle(images)
    torch.testing.assert_close(logits, expected["out"], rtol=0, atol=1e-4)
    torch.testing.assert_close(auxiliary, expected["aux"], rtol=0, atol=1e-4)


def test_has_as_many_parameters_as_torchvision():
    """num_params of DeepLabV3_ResNet50_Weights.COCO_WITH_VOC_LABELS_V1"""
    with torch.device("meta"):
        assert sum(p.numel() for p in DeepLabV3(VOC, 3).parameters()) == 42_004_074


@pytest.mark.parametrize(("output_stride", "dilations"), [(8, [12, 24, 36]), (16, [6, 12, 18])])
def test_rates_follow_the_output_stride(output_stride, dilations):
    with torch.device("meta"):
        network = DeepLabV3(VOC, 3, backbone="test_resnet", output_stride=output_stride)
    assert [conv[0].dilation[0] for conv in network.head[0].convs[1:4]] == dilations


def test_trains_on_a_single_image():
    torch.manual_seed(0)
    network = DeepLabV3(make_view("semantic"), 3, backbone="test_resnet", channels=8).train()
    loss = sum(network.losses(*batch("semantic", 1, (64, 64))).values())
    loss.backward()
    assert network.head[0].convs[-1][1].weight.grad.abs().sum() > 0
