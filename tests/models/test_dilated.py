import pytest
import torch
from network_tester import SKY, NetworkTester, batch, make_view
from torchvision.models.segmentation import fcn_resnet50

from segbench.contract.view import View
from segbench.errors import SegbenchError
from segbench.models.bases.dilated import load_torchvision
from segbench.models.dilated import DilatedFCN
from segbench.models.losses.semantic import cross_entropy

VOC = View("semantic", (SKY,) * 21)


class TestDilatedFCN(NetworkTester):
    network = DilatedFCN
    backbone = "test_resnet"
    options = {"backbone": "test_resnet"}
    backbones = ("tf_efficientnet_lite0", "resnet18", "convnext_atto")
    enough = 0.9  # stride 8, objects of 20 pixels


@pytest.fixture(scope="module")
def oracle():
    torch.manual_seed(0)
    network = fcn_resnet50(weights=None, weights_backbone=None, aux_loss=True)
    network(torch.randn(2, 3, 64, 96))  # statistics other than 0 and 1
    return network.eval()


@pytest.mark.parametrize("frozen_norm", [False, True])
def test_equals_torchvision(oracle, frozen_norm):
    network = DilatedFCN(VOC, 3, frozen_norm=frozen_norm).eval()
    load_torchvision(network, oracle.state_dict())
    images = torch.randn(2, 3, 75, 98)
    with torch.no_grad():
        logits, auxiliary = network.training_logits(images)
        expected = oracle(images)
        torch.testing.assert_close(network(images), expected["out"], rtol=0, atol=1e-4)
    torch.testing.assert_close(logits, expected["out"], rtol=0, atol=1e-4)
    torch.testing.assert_close(auxiliary, expected["aux"], rtol=0, atol=1e-4)


def test_has_as_many_parameters_as_torchvision():
    """num_params of FCN_ResNet50_Weights.COCO_WITH_VOC_LABELS_V1"""
    with torch.device("meta"):
        assert sum(p.numel() for p in DilatedFCN(VOC, 3).parameters()) == 35_322_218


def test_weights_for_other_classes_are_refused(oracle):
    with pytest.raises(SegbenchError, match="with 4 classes"):
        load_torchvision(DilatedFCN(make_view("semantic"), 3), oracle.state_dict())


def test_the_auxiliary_head_adds_its_weighted_losses():
    torch.manual_seed(0)
    network = DilatedFCN(make_view("semantic"), 3, backbone="test_resnet", auxiliary_weight=0.3).eval()
    images, targets = batch("semantic", 2, (45, 71))
    losses = network.losses(images, targets)
    assert set(losses) == {"cross_entropy", "auxiliary_cross_entropy"}
    truth = torch.stack([target["semantic"] for target in targets])
    logits, auxiliary = network.training_logits(images)
    torch.testing.assert_close(losses["cross_entropy"], cross_entropy(logits, truth))
    torch.testing.assert_close(losses["auxiliary_cross_entropy"], 0.3 * cross_entropy(auxiliary, truth))


def test_without_its_weight_there_is_no_auxiliary_head():
    network = DilatedFCN(make_view("semantic"), 3, backbone="test_resnet", auxiliary_weight=0)
    assert set(network.losses(*batch("semantic", 2, (64, 64)))) == {"cross_entropy"}
    assert not any("auxiliary" in name for name in network.state_dict())


def test_backbones_that_cannot_be_dilated_are_refused_unless_at_stride_32():
    options = {"backbone": "swin_tiny_patch4_window7_224"}
    with pytest.raises(SegbenchError, match="output_stride"):
        DilatedFCN(make_view("semantic"), 3, **options)
    network = DilatedFCN(make_view("semantic"), 3, **options, output_stride=32).eval()
    with torch.no_grad():
        assert network(torch.randn(1, 3, 45, 71)).shape == (1, 4, 45, 71)
