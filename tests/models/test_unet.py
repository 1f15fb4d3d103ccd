import numpy as np
import pytest
import timm
import torch
from network_tester import SKY, NetworkTester, batch, make_view, quality
from torch import nn
from torch.nn import functional as F

from segbench.contract.view import View
from segbench.errors import SegbenchError
from segbench.models.unet import UNet


class TestUNet(NetworkTester):
    network = UNet
    lr = 0.01
    options = {"widths": [8, 16, 16, 24, 32]}


class TestUNetWithBackbone(NetworkTester):
    network = UNet
    lr = 0.01
    backbone = "test_resnet"
    options = {"backbone": "test_resnet", "widths": [8, 16, 16, 24, 32]}
    backbones = ("tf_efficientnet_lite0", "vgg16_bn", "swin_tiny_patch4_window7_224")


def view_of(count: int) -> View:
    return View("semantic", (SKY,) * count)


@pytest.mark.parametrize(
    ("widths", "classes", "parameters"),
    [
        ((32, 64, 128, 256, 512), 1, 7_763_041),  # mateuszbuda/brain-segmentation-pytorch
        ((64, 128, 256, 512, 1024), 2, 31_037_698),  # milesial/Pytorch-UNet, transposed convolutions
    ],
)
def test_has_as_many_parameters_as_public_implementations(widths, classes, parameters):
    with torch.device("meta"):
        network = UNet(view_of(classes), 3, widths)
    assert sum(p.numel() for p in network.parameters()) == parameters


def test_equals_the_paper_written_as_functions():
    """Encoder and decoder from the figure of the paper, run on the network's weights in their order."""
    torch.manual_seed(0)
    network = UNet(view_of(3), 2, (4, 6, 8, 10, 12))
    images = torch.randn(2, 2, 32, 48)
    network(images)  # statistics other than 0 and 1
    network.eval()
    state = iter([v for k, v in network.state_dict().items() if not k.endswith("num_batches_tracked")])

    def double_conv(x):
        for _ in range(2):
            x = F.conv2d(x, next(state), padding=1)
            weight, bias, mean, variance = (next(state) for _ in range(4))
            x = F.relu(F.batch_norm(x, mean, variance, weight, bias))
        return x

    x, skips = images, []
    for _ in range(4):
        skips.append(double_conv(x))
        x = F.max_pool2d(skips[-1], 2)
    x = double_conv(x)
    for skip in reversed(skips):
        x = F.conv_transpose2d(x, next(state), next(state), stride=2)
        x = double_conv(torch.cat([x, skip], 1))
    expected = F.conv2d(x, next(state), next(state))
    assert next(state, None) is None
    with torch.no_grad():
        torch.testing.assert_close(network(images), expected, rtol=0, atol=1e-5)


def test_a_pixel_sees_what_the_kernels_allow():
    network = UNet(view_of(1), 1, (1, 1, 1, 1, 1)).eval()
    for parameter in network.parameters():
        nn.init.ones_(parameter)  # all paths count, none is closed by a ReLU
    pixel, seen = 160, []
    ramp = torch.arange(1.0, 321).double().expand(1, 1, 320, 320)
    for images in (ramp, ramp.flip(-1)):  # max pooling takes the pixel at the one end, then at the other
        images = images.clone().requires_grad_()
        network.double()(images)[0, 0, pixel, pixel].backward()
        seen += images.grad[0, 0].sum(0).nonzero().flatten().tolist()
    first = last = pixel
    for _ in range(4):  # up: two convolutions reach 2 pixels further, a transposed one halves
        first, last = (first - 2) // 2, (last + 2) // 2
    for _ in range(4):  # down: two convolutions, and pooling has two pixels for one
        first, last = (first - 2) * 2, (last + 2) * 2 + 1
    first, last = first - 2, last + 2
    assert (first, last) == (66, 253)
    assert (min(seen), max(seen)) == (first, last)


def test_padding_to_the_stride_leaves_the_rest_of_the_image_alone():
    torch.manual_seed(0)
    network = UNet(view_of(2), 3, (4, 4, 4, 4, 4)).eval()
    images = torch.randn(1, 3, 64, 75)
    with torch.no_grad():
        torch.testing.assert_close(network(images), network(F.pad(images, (0, 5)))[..., :75])


def test_too_few_widths_for_a_backbone_are_refused():
    with pytest.raises(SegbenchError, match="needs 5"):
        UNet(make_view("semantic"), 3, widths=[8, 16], backbone="test_resnet")


@pytest.mark.parametrize(
    "options",
    [
        {"fusion": "branches", "modality_dropout": 0.2},
        {"activation": "sigmoid"},
    ],
    ids=["branches", "sigmoid"],
)
def test_learns_with_options(options):
    network, history, norms = TestUNet.fit("semantic", 50, **options)
    assert sum(history[-3:]) / 3 < 0.5 * history[0]
    assert [name for name, norm in norms.items() if not (np.isfinite(norm) and norm > 0)] == []
    images, targets = batch("semantic", 2, TestUNet.size)
    for found, target in zip(network.predict(images, [TestUNet.size] * 2), targets):
        assert quality("semantic", found, target) > 0.9
    TestUNet().check_batches(network, "semantic", TestUNet.odd_size)


def test_branches_change_no_name_without_the_option():
    names = [name for name, _ in UNet(view_of(2), 3, (4, 4)).named_parameters()]
    assert names[0] == "encoder.stages.0.0.weight"
    network = UNet(view_of(2), 3, (4, 4), fusion="branches", modalities=[[2], [1, 3]])
    assert [e.stages[0][0].in_channels for e in network.encoder.encoders] == [1, 2]
    assert "decoder.1.up.weight" in names and "decoder.1.up.weight" in network.state_dict()


def test_each_branch_loads_the_weights_of_the_backbone():
    network = UNet(
        make_view("semantic"), 4, [4] * 5, "test_resnet", fusion="branches", modalities=[[1], [2, 3, 4]]
    )
    network.load_backbone(timm.create_model("test_resnet", pretrained=False).state_dict())
    first, second = (dict(e.net.model.named_parameters()) for e in network.backbone.encoders)
    for (name, one), other in zip(first.items(), second.values()):
        assert torch.equal(one, other.sum(1, keepdim=True) if one.shape != other.shape else other), name


@pytest.mark.parametrize("options", [{"modalities": [[1], [2, 3]]}, {"modality_dropout": 0.2}])
def test_modalities_without_branches_are_refused(options):
    with pytest.raises(SegbenchError, match="need an encoder for each modality") as error:
        UNet(make_view("semantic"), 3, [4, 4], **options)
    assert error.value.remedy.startswith("set fusion: branches")
