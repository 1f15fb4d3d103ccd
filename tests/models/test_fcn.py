import pytest
import timm
import torch
import torchvision
from network_tester import SKY, NetworkTester
from torch import nn
from torch.nn import functional as F

from segbench.contract.view import View
from segbench.models.fcn import FCN, BilinearUp


class TestFCN(NetworkTester):
    network = FCN
    backbone = "test_resnet"
    options = {"backbone": "test_resnet"}
    backbones = ("tf_efficientnet_lite0", "resnet18", "swin_tiny_patch4_window7_224")
    enough = 0.9  # stride 8, objects of 20 pixels


class TestFCN16s(NetworkTester):
    network = FCN
    backbone = "test_resnet"
    options = {"backbone": "test_resnet", "stride": 16}
    backbones = TestFCN.backbones
    enough = 0.85


class TestFCN32s(NetworkTester):
    network = FCN
    backbone = "test_resnet"
    options = {"backbone": "test_resnet", "stride": 32}
    backbones = TestFCN.backbones
    enough = 0.75


def view_of(count: int) -> View:
    return View("semantic", (SKY,) * count)


@pytest.mark.parametrize(("stride", "millions"), [(8, 134.5), (16, 134.8), (32, 136.2)])
def test_has_as_many_parameters_as_the_paper(stride, millions):
    with torch.device("meta"):
        network = FCN(view_of(21), 3, stride=stride)
    assert round(sum(p.numel() for p in network.parameters()) / 1e6, 1) == millions


@pytest.mark.parametrize("groups", [1, 2])
@pytest.mark.parametrize("factor", [2, 8, 16, 32])
def test_upsampling_starts_as_bilinear_interpolation(factor, groups):
    up = BilinearUp(2, factor, groups)
    scores = torch.randn(1, 2, 5, 6)
    expected = F.interpolate(scores, scale_factor=factor, mode="bilinear", align_corners=False)
    inside = (..., slice(factor, -factor), slice(factor, -factor))  # outside are zeros, not repeated pixels
    with torch.no_grad():
        torch.testing.assert_close(up(scores)[inside], expected[inside], rtol=1e-5, atol=1e-5)
    assert up.weight.requires_grad


def test_scores_start_at_zero_but_learn():
    torch.manual_seed(0)
    network = FCN(view_of(3), 3, "test_resnet").train()
    images = torch.randn(2, 3, 64, 64)
    logits = network(images)
    assert logits.eq(0).all()
    F.cross_entropy(logits, torch.randint(3, (2, 64, 64))).backward()
    assert all(score.weight.grad.abs().sum() > 0 for score in network.scores.values())


@pytest.fixture(scope="module")
def on_vgg() -> FCN:
    torch.manual_seed(0)
    network = FCN(view_of(3), 3, "vgg11", fc_channels=16).eval()
    for score in network.scores.values():
        nn.init.normal_(score.weight, 0, 0.1)
    return network


def test_equals_the_paper_on_torchvisions_vgg(on_vgg):
    """Score, double, add pool4's scores, double, add pool3's, times 8; fc6 and fc7 as convolutions."""
    torch.manual_seed(0)
    vgg = torchvision.models.vgg11(num_classes=1).features.eval()
    fc6, fc7 = nn.Conv2d(512, 16, 7), nn.Conv2d(16, 16, 1)
    state = {f"features.{k}": v for k, v in vgg.state_dict().items()}
    state |= {f"pre_logits.fc1.{k}": v for k, v in fc6.state_dict().items()}
    state |= {f"pre_logits.fc2.{k}": v for k, v in fc7.state_dict().items()}
    on_vgg.load_backbone(state)
    images = torch.randn(1, 3, 75, 100)
    with torch.no_grad():
        x, pools = F.pad(images, (0, 28, 0, 21)), []
        for layer in vgg:
            x = layer(x)
            if isinstance(layer, nn.MaxPool2d):
                pools.append(x)
        x = F.relu(fc7(F.relu(fc6(F.pad(pools[4], (3, 3, 3, 3))))))
        x = on_vgg.scores["32"](x)
        for coarse, fine, pool in (("32", "16", pools[3]), ("16", "8", pools[2])):
            x = F.conv_transpose2d(x, on_vgg.fuse[coarse].weight, stride=2, padding=1)
            x = x + on_vgg.scores[fine](pool)
        x = F.conv_transpose2d(x, on_vgg.upsample.weight, stride=8, padding=4)[..., :75, :100]
        torch.testing.assert_close(on_vgg(images), x, rtol=0, atol=1e-4)


@pytest.mark.parametrize("stride", [16, 32])
def test_coarser_nets_stop_earlier(on_vgg, stride):
    """FCN-32s is its score times 32, FCN-16s that doubled, plus pool4's, times 16."""
    network = FCN(view_of(3), 3, "vgg11", stride, fc_channels=16).eval()
    shared = {k: v for k, v in on_vgg.state_dict().items() if k in network.state_dict()}
    del shared["upsample.weight"]
    network.load_state_dict(shared, strict=False)
    images = torch.randn(1, 3, 75, 100)
    with torch.no_grad():
        features = on_vgg.features(F.pad(images, (0, 28, 0, 21)))
        x = on_vgg.scores["32"](features[32])
        if stride == 16:
            x = F.conv_transpose2d(x, on_vgg.fuse["32"].weight, stride=2, padding=1)
            x += on_vgg.scores["16"](features[16])
        up = BilinearUp(3, stride).weight
        x = F.conv_transpose2d(x, up, stride=stride, padding=stride // 2)[..., :75, :100]
        torch.testing.assert_close(network(images), x, rtol=0, atol=1e-4)


def test_fc_layers_are_the_classifiers_on_its_own_input_size():
    """The centre of fc7 on a 224 x 224 image is what timm's classifier computes from it."""
    torch.manual_seed(0)
    classifier = timm.create_model("vgg11", mlp_ratio=0.01).eval()  # 40 channels between the two
    network = FCN(view_of(2), 3, "vgg11", fc_channels=16).eval()
    network.fc = classifier.pre_logits
    network.backbone.load(classifier.state_dict())
    images = torch.randn(1, 3, 224, 224)
    with torch.no_grad():
        expected = classifier.pre_logits(classifier.forward_features(images))
        found = network.features(images)[32][..., 3:4, 3:4]
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)


def test_narrow_fc_layers_leave_the_classifiers_weights_out(on_vgg):
    state = timm.create_model("vgg11", mlp_ratio=0.01).state_dict()
    before = on_vgg.fc.fc1.weight.clone()
    on_vgg.load_backbone(state)
    assert torch.equal(on_vgg.fc.fc1.weight, before)
    assert torch.equal(on_vgg.backbone.net.model.features[0].weight, state["features.0.weight"])


def test_dropout_follows_both_fc_layers(on_vgg):
    on_vgg.train()
    torch.manual_seed(0)
    a = on_vgg(torch.ones(1, 3, 64, 64))
    b = on_vgg(torch.ones(1, 3, 64, 64))
    on_vgg.eval()
    assert not torch.equal(a, b)
    assert [m.p for m in (*on_vgg.fc.modules(), on_vgg.dropout) if isinstance(m, nn.Dropout)] == [0.5, 0.5]


def test_finer_nets_take_what_they_share_with_coarser_ones():
    coarse, fine = (FCN(view_of(3), 3, "test_resnet", stride=s) for s in (32, 8))
    shared = {k: v for k, v in coarse.state_dict().items() if not k.startswith("upsample.")}
    missing, unexpected = fine.load_state_dict(shared, strict=False)
    assert not unexpected
    assert {k.split(".")[0] for k in missing} == {"fuse", "scores", "upsample"}
    assert not any(k.startswith("scores.32") for k in missing)
