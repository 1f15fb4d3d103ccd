"""Tests of all networks for Mask2Former; `test_mask2former_oracle.py` compares numbers."""

import pytest
import torch
from network_tester import NetworkTester, batch, make_view, scene

from segbench.models.mask2former import Mask2Former

SMALL = {
    "backbone": "test_resnet",
    "hidden_dim": 64,
    "queries": 12,
    "encoder_layers": 1,
    "encoder_feedforward": 64,
    "decoder_layers": 3,
    "decoder_feedforward": 64,
    "loss": {"points": 256},
    "object_threshold": 0.5,
}


class TestMask2Former(NetworkTester):
    network = Mask2Former
    options = SMALL
    backbone = "test_resnet"
    backbones = ("resnet18", "tf_efficientnet_lite0", "swin_tiny_patch4_window7_224")
    lr = 1.5e-3
    steps = 40


@pytest.mark.parametrize(
    ("task", "parts"),
    [
        ("semantic", {"semantic"}),
        ("instance", {"instances"}),
        ("panoptic", {"semantic", "instances", "panoptic"}),
    ],
)
def test_answers_every_part_that_its_view_holds(task, parts):
    network = TestMask2Former.make(task).eval()
    found = network.predict(batch(task, 1, (64, 64))[0], [(50, 60)])[0]
    assert {name for name, value in vars(found).items() if value is not None} == parts
    if found.instances:
        assert set(found.instances.labels.tolist()) <= set(network.view.thing_indices)


def test_memory_of_a_prediction_is_bounded(monkeypatch):
    """The same prediction whether the image is enlarged at once or row by row."""
    network = TestMask2Former.make("panoptic").eval()
    images = batch("panoptic", 1, (64, 64))[0]
    whole = network.predict(images, [(90, 50)])[0]
    monkeypatch.setattr("segbench.models.layers.mask_prediction.STRIP", 1)
    rows = network.predict(images, [(90, 50)])[0]
    assert torch.equal(whole.semantic, rows.semantic)
    assert torch.equal(whole.panoptic.segments, rows.panoptic.segments)
    assert torch.equal(whole.instances.masks, rows.instances.masks)
    torch.testing.assert_close(whole.instances.scores, rows.instances.scores)


def test_void_and_padding_take_no_part_in_the_mask_losses():
    """The truth where `valid` is False changes nothing."""
    network = TestMask2Former.make("instance").eval()
    image, target = scene("instance", (64, 64), 3)
    valid = torch.ones(64, 64, dtype=torch.bool)
    valid[:, 40:] = False
    cut, filled = target["masks"].clone(), target["masks"].clone()
    cut[:, :, 40:], filled[:, :, 40:] = False, True
    losses = []
    for masks in (cut, filled):
        torch.manual_seed(0)
        # a bilinear sample left of the border reads the first invalid column, too: keep it equal
        masks[:, :, 40] = False
        losses.append(network.losses(image[None], [target | {"masks": masks, "valid": valid}]))
    for name in losses[0]:
        torch.testing.assert_close(losses[0][name], losses[1][name], msg=name)


def test_more_objects_than_queries():
    network = TestMask2Former.make("instance", queries=2).train()
    loss = sum(network.losses(*batch("instance", 2, (64, 64))).values())
    loss.backward()
    assert torch.isfinite(loss)


def test_runs_under_autocast():
    network = TestMask2Former.make("panoptic").train()
    images, targets = batch("panoptic", 2, (64, 64))
    torch.manual_seed(0)
    exact = {name: float(value.detach()) for name, value in network.losses(images, targets).items()}
    torch.manual_seed(0)
    with torch.autocast("cpu", torch.bfloat16):
        losses = network.losses(images, targets)
    sum(losses.values()).backward()
    for name, value in losses.items():
        assert value.dtype == torch.float32
        assert float(value.detach()) == pytest.approx(exact[name], rel=0.1)
    with torch.autocast("cpu", torch.bfloat16):
        assert network.eval().predict(images, [(64, 64)] * 2)[0].semantic.shape == (64, 64)


@pytest.mark.parametrize(
    "backbone",
    ["resnet18", "resnet34", "resnet101", "vgg16", "swin_tiny_patch4_window7_224", "convnext_tiny"],
)
def test_takes_many_backbones(backbone):
    """On the meta device, which computes shapes only."""
    with torch.device("meta"):
        network = TestMask2Former.make("panoptic", backbone=backbone).eval()
        output = network(torch.zeros(1, 3, 70, 100))
    assert output.features.shape == (1, 64, 24, 32)


def test_parameters_of_the_paper():
    """The published ResNet-50 model for COCO panoptic (133 classes) has 44 M parameters (paper, table 1)."""
    view = make_view("panoptic")
    view = type(view)("panoptic", view.classes[:1] * 133)
    with torch.device("meta"):
        count = sum(p.numel() for p in Mask2Former(view, 3).parameters())
    assert count == pytest.approx(44.0e6, abs=0.1e6)
