import pytest
import torch
from mapped_weights import load_in_order
from network_tester import SKY, NetworkTester, make_view
from torch import nn
from torchvision.models import mobilenet_v3_large, segmentation
from torchvision.models._utils import IntermediateLayerGetter

from segbench.contract.view import View
from segbench.errors import SegbenchError
from segbench.models.deeplabv3 import DeepLabV3
from segbench.models.lraspp import LRASPP

VOC = View("semantic", (SKY,) * 21)


class TestLRASPP(NetworkTester):
    network = LRASPP
    backbone = "test_resnet"
    options = {"backbone": "test_resnet", "channels": 32}
    backbones = ("tf_efficientnet_lite0", "resnet18", "mobilenetv3_large_100")
    enough = 0.9  # stride 8, objects of 20 pixels
    lr = 0.005


def torchvision_lraspp():
    """torchvision's network, with the last features of stride 8; its builder takes the first ones."""
    features = mobilenet_v3_large(dilated=True).features
    assert features[4]._is_cn and features[6].out_channels == 40 != features[7].out_channels
    taps = IntermediateLayerGetter(features, {"6": "low", "16": "high"})
    return segmentation.LRASPP(taps, 40, 960, 21)


def torchvision_deeplab():
    return segmentation.deeplabv3_mobilenet_v3_large(weights=None, weights_backbone=None)


@pytest.mark.parametrize(
    ("build", "network"), [(torchvision_lraspp, LRASPP), (torchvision_deeplab, DeepLabV3)]
)
def test_equals_torchvision_on_mobilenet(build, network):
    torch.manual_seed(0)
    theirs = build()
    theirs(torch.randn(2, 3, 64, 64))  # statistics other than 0 and 1
    options = {"backbone": "mobilenetv3_large_100", "output_stride": 16, "auxiliary_weight": 0.0}
    ours = network(VOC, 3, **options).eval()
    for module in ours.backbone.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.eps = 0.001  # torchvision's; timm's is 1e-5
    load_in_order(ours, [theirs])
    images = torch.randn(1, 3, 75, 98)
    with torch.no_grad():
        torch.testing.assert_close(ours(images), theirs.eval()(images)["out"], rtol=0, atol=1e-5)


def test_has_as_many_parameters_as_torchvision():
    """num_params of LRASPP_MobileNet_V3_Large_Weights.COCO_WITH_VOC_LABELS_V1"""
    with torch.device("meta"):
        assert sum(p.numel() for p in LRASPP(VOC, 3).parameters()) == 3_221_538


def test_backbones_without_features_of_stride_8():
    with pytest.raises(SegbenchError, match="stride 16, 16"):
        LRASPP(make_view("semantic"), 3, "test_vit", output_stride=32)
