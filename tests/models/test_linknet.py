import torch
from mapped_weights import fill, waves
from network_tester import SKY, NetworkTester
from torch.nn import functional as F

from segbench.contract.view import View
from segbench.models.linknet import LinkNet

# e-lab/pytorch-linknet at 99a7c81, the authors' code: LinkNet(3) of models/linknet.py;
# fill([in_block, encoder1, ..., encoder4, decoder4, ..., decoder1, tp_conv1, conv2, tp_conv2]);
# output[0, :, 10::22, 15::35] of waves(64, 96), in evaluation mode. It takes no sides but multiples of 32.
AUTHORS = [
    [[-1.032490, -1.527812, -0.636769], [-0.951984, -1.337863, -1.108542], [-0.864534, -1.687555, -0.709301]],
    [[-2.414573, -1.028296, -2.037395], [-1.092072, -0.779763, -0.868100], [-2.108868, -1.009874, -2.039832]],
    [[-0.589733, -0.854786, -1.076949], [-1.278318, -1.276259, -1.385447], [-0.782248, -0.796812, -0.972963]],
]


class TestLinkNet(NetworkTester):
    network = LinkNet
    lr = 0.005
    backbone = "test_resnet"
    options = {"backbone": "test_resnet"}
    backbones = ("tf_efficientnet_lite0", "resnet18", "swin_tiny_patch4_window7_224")


def test_has_as_many_parameters_as_the_paper():
    """11.5 M on ResNet-18 (paper, table 1); the authors' code has 64 more, biases before two batch norms."""
    with torch.device("meta"):
        network = LinkNet(View("semantic", (SKY,) * 21), 3, "resnet18")
    assert sum(p.numel() for p in network.parameters()) == 11_535_957 - 64


def test_equals_the_authors_code():
    network = LinkNet(View("semantic", (SKY,) * 3), 3, "resnet18").eval()
    fill([network.backbone, network.decoders, network.head])
    with torch.no_grad():
        logits = network(waves(64, 96)).log_softmax(1)
    torch.testing.assert_close(logits[0, :, 10::22, 15::35], torch.tensor(AUTHORS), rtol=0, atol=1e-5)


def test_padding_to_the_stride_leaves_the_rest_of_the_image_alone():
    torch.manual_seed(0)
    network = LinkNet(View("semantic", (SKY,) * 2), 3, "test_resnet").eval()
    images = torch.randn(1, 3, 45, 71)
    with torch.no_grad():
        expected = network(F.pad(images, (0, 25, 0, 19)))[..., :45, :71]
        torch.testing.assert_close(network(images), expected)
