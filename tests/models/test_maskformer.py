"""Tests of all networks for MaskFormer; `test_maskformer_oracle.py` compares numbers."""

import torch
from network_tester import NetworkTester, batch, scene

from segbench.models.maskformer import MaskFormer


class TestMaskFormer(NetworkTester):
    network = MaskFormer
    options = {
        "backbone": "test_resnet",
        "hidden_dim": 64,
        "queries": 12,
        "decoder_layers": 2,
        "decoder_feedforward": 64,
        "dropout": 0.0,
        "object_threshold": 0.5,
    }
    backbone = "test_resnet"
    backbones = ("resnet18", "tf_efficientnet_lite0", "swin_tiny_patch4_window7_224")
    lr = 1.5e-3
    steps = 60


def test_void_and_padding_take_no_part_in_the_mask_losses():
    """The truth where `valid` is False changes nothing."""
    network = TestMaskFormer.make("instance").eval()
    image, target = scene("instance", (64, 64), 3)
    valid = torch.ones(64, 64, dtype=torch.bool)
    valid[:, 40:] = False
    losses = []
    for value in (False, True):
        masks = target["masks"].clone()
        masks[:, :, 40:] = value
        losses.append(network.losses(image[None], [target | {"masks": masks, "valid": valid}]))
    for name in losses[0]:
        assert torch.equal(losses[0][name], losses[1][name]), name


def test_dropout_is_for_training_only():
    network = TestMaskFormer.make("panoptic", dropout=0.5)
    images, _ = batch("panoptic", 1, (64, 64))
    with torch.no_grad():
        assert not torch.equal(network(images).classes, network(images).classes)
        network.eval()
        assert torch.equal(network(images).classes, network(images).classes)


def test_more_objects_than_queries():
    network = TestMaskFormer.make("instance", queries=2).train()
    loss = sum(network.losses(*batch("instance", 2, (64, 64))).values())
    loss.backward()
    assert torch.isfinite(loss)
