import pytest
import timm
import torch
from network_tester import NetworkTester, make_view

from segbench.errors import SegbenchError
from segbench.models.timm_head import TimmHead


class TestLinear(NetworkTester):
    network = TimmHead
    options = {"backbone": "test_vit", "levels": 2}
    backbone = "test_vit"
    backbones = ("test_resnet", "test_convnext")
    enough = 0.6  # patches of 16 x 16 pixels, objects of 20 pixels


@pytest.mark.extensive
class TestUPerHead(NetworkTester):
    network = TimmHead
    options = {"backbone": "test_resnet", "head": "upernet", "channels": 32}
    backbone = "test_resnet"
    backbones = ("test_vit", "swin_tiny_patch4_window7_224")
    enough = 0.9


def make(**options):
    torch.manual_seed(0)
    return TimmHead(make_view("semantic"), 3, **options).eval()


def test_a_linear_head_reads_the_patch_tokens_of_timm():
    """The norm of its last level is timm's: features are the tokens that timm returns, without the first."""
    network = make(backbone="test_vit")
    model = timm.create_model("test_vit", dynamic_img_size=True)
    model.load_state_dict(network.backbone.net.model.state_dict(), strict=False)
    images = torch.randn(2, 3, 64, 64)
    tokens = model.eval().forward_intermediates(images, indices=1, intermediates_only=True)[0]
    norm, linear = network.head
    expected = linear(norm(tokens))
    found = network(images)
    torch.testing.assert_close(
        torch.nn.functional.interpolate(expected, (64, 64), mode="bilinear"), found, rtol=0, atol=1e-5
    )


def test_a_frozen_backbone_leaves_the_head_to_train():
    from segbench.contract.recipe import Optimizer
    from segbench.training.optimizer import parameter_groups

    network = make(backbone="test_vit")
    groups = parameter_groups(network, Optimizer(backbone_lr_factor=0))
    trained = {id(p) for group in groups for p in group["params"]}
    assert trained == {id(p) for p in network.head.parameters()}


def test_a_transformer_of_one_size_is_refused():
    with pytest.raises(SegbenchError, match="takes images of 224 x 224 pixels only"):
        make(backbone="beit_base_patch16_224")
