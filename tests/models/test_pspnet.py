import torch
from mapped_weights import fill, waves
from network_tester import SKY, NetworkTester, batch, make_view

from segbench.contract.view import View
from segbench.models.pspnet import PSPNet

# hszhao/semseg at 4f274c3, the authors' code: PSPNet(layers=50, classes=3) of model/pspnet.py; first blocks
# of layer3 and layer4 were given the dilation of the stage before (1 and 2), as in torchvision and timm;
# fill([layer0, ..., layer4, ppm, cls]); logits[0, :, ::20, ::28] of waves(41, 57), in evaluation mode.
# With random weights, logits (65 x 97, 41 x 57, 73 x 89 pixels) and both losses were equal to 1e-7.
AUTHORS = [
    [[0.050928, 0.094587, 0.066121], [-0.057142, -0.067920, 0.034858], [-0.017784, -0.158195, -0.034892]],
    [[0.036666, 0.048934, -0.045684], [0.043396, -0.104996, -0.075198], [-0.003042, -0.137279, -0.028197]],
    [[-0.010626, -0.110711, -0.041044], [-0.000904, -0.136404, -0.144494], [-0.043094, -0.110834, -0.090733]],
]


class TestPSPNet(NetworkTester):
    network = PSPNet
    backbone = "test_resnet"
    options = {"backbone": "test_resnet", "channels": 32}
    backbones = ("tf_efficientnet_lite0", "resnet18", "convnext_atto")
    enough = 0.9  # stride 8, objects of 20 pixels


def test_equals_the_authors_code():
    network = PSPNet(View("semantic", (SKY,) * 3), 3, backbone="resnet50s", auxiliary_weight=0).eval()
    fill([network.backbone, network.head])
    with torch.no_grad():
        logits = network(waves(41, 57))
    torch.testing.assert_close(logits[0, :, ::20, ::28], torch.tensor(AUTHORS), rtol=0, atol=1e-5)


def test_has_as_many_parameters_as_the_authors_code():
    with torch.device("meta"):
        network = PSPNet(View("semantic", (SKY,) * 21), 3, backbone="resnet50s")
    assert sum(p.numel() for p in network.parameters()) == 49_081_578


def test_trains_on_a_single_image():
    torch.manual_seed(0)
    network = PSPNet(make_view("semantic"), 3, backbone="test_resnet", channels=8).train()
    sum(network.losses(*batch("semantic", 1, (65, 65))).values()).backward()
    assert network.head[0].branches[0][1].weight.grad.abs().sum() > 0
