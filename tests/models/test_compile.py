"""`torch.compile` works for each kind of network; graphs may break (boxes), but results stay the same."""

import pytest
import torch
from network_tester import batch, make_view

from segbench.models.deeplabv3 import DeepLabV3
from segbench.models.mask2former import Mask2Former
from segbench.models.mask_rcnn import MaskRCNN

NETWORKS = {
    "semantic": (DeepLabV3, {"channels": 16}),
    "instance": (
        MaskRCNN,
        {
            "fpn_channels": 16,
            "box_channels": 16,
            "mask_channels": 16,
            "anchor_sizes": [8, 16, 32, 64, 128],
            "proposals_training": 50,
        },
    ),
    "panoptic": (
        Mask2Former,
        {
            "hidden_dim": 32,
            "queries": 8,
            "encoder_layers": 1,
            "encoder_feedforward": 32,
            "decoder_layers": 1,
            "decoder_feedforward": 32,
            "loss": {"points": 64},
        },
    ),
}


@pytest.mark.slow
@pytest.mark.parametrize("task", NETWORKS)
def test_compiled_losses_are_the_same(task):
    kind, options = NETWORKS[task]
    torch.manual_seed(0)
    network = kind(make_view(task), 3, backbone="test_resnet", **options).eval()
    images, targets = batch(task, 2, (64, 64))
    torch.manual_seed(0)
    expected = network.losses(images, targets)
    torch.manual_seed(0)
    torch.compiler.reset()
    found = torch.compile(network.losses, backend="aot_eager")(images, targets)
    assert found.keys() == expected.keys()
    for name in expected:
        torch.testing.assert_close(found[name], expected[name], rtol=1e-4, atol=1e-5)
    sum(found.values()).backward()
    assert all(torch.isfinite(p.grad).all() for p in network.parameters() if p.grad is not None)
