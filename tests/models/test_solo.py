import math

import pytest
import torch
from network_tester import NetworkTester, batch, make_view

from segbench.errors import SegbenchError
from segbench.models.solo import SOLO, SOLOv2
from segbench.models.solo.grid import centres, reduced
from segbench.models.solo.matrix_nms import matrix_nms
from segbench.models.solo.network import peaks

SMALL = {
    "backbone": "test_resnet",
    "fpn_channels": 32,
    "head_channels": 64,
    "convolutions": 2,
    "grids": [8, 8, 6, 5, 4],
    "scale_ranges": [(1, 100)] * 5,  # every level finds every object
}


class TestSOLO(NetworkTester):
    network = SOLO
    backbone = "test_resnet"
    options = SMALL
    steps = 150
    lr = 5e-3
    backbones = ("tf_efficientnet_lite0", "resnet18", "swin_tiny_patch4_window7_224")


class TestSOLOv2(NetworkTester):
    network = SOLOv2
    backbone = "test_resnet"
    options = SMALL | {"mask_channels": 32, "kernel_channels": 32}
    backbones = ("tf_efficientnet_lite0", "resnet18", "swin_tiny_patch4_window7_224")


def test_matrix_nms_by_hand():
    """4, 4, 2 and 4 pixels: b overlaps a by 2 (IoU 1/3), c lies within b, d is of another class."""
    masks = torch.zeros(4, 2, 4, dtype=torch.bool)
    masks[0, :, :2] = masks[1, :, 1:3] = masks[2, :, 2] = masks[3, :, :2] = True
    labels, scores = torch.tensor([0, 0, 0, 1]), torch.tensor([0.9, 0.8, 0.7, 0.6])
    found = matrix_nms(masks, labels, scores, sigma=2.0)
    # c decays less than by exp(-2 (1/2)²): b, which overlaps it, is overlapped itself
    expected = [0.9, 0.8 * math.exp(-2 / 9), 0.7 * math.exp(-2 * (1 / 4 - 1 / 9)), 0.6]
    assert found.tolist() == pytest.approx(expected, abs=1e-6)
    assert matrix_nms(masks[:0], labels[:0], scores[:0], sigma=2.0).shape == (0,)


def test_of_neighbours_only_the_greatest_is_a_peak():
    scores = torch.tensor([[0.1, 0.3, 0.2], [0.4, 0.2, 0.5]])[None, None]
    assert torch.equal(peaks(scores)[0, 0], torch.tensor([[0.1, 0.3, 0], [0.4, 0, 0.5]]))


def test_centre_and_reduction_of_a_mask():
    masks = torch.zeros(1, 8, 8, dtype=torch.bool)
    masks[0, 1:3, 4:8] = True
    assert centres(masks).tolist() == [[5.5, 1.5]]
    small = reduced(masks, 4)
    assert small.shape == (1, 8, 8) and small.nonzero().tolist() == [[0, 0, 1]]


@pytest.mark.parametrize("option", ["grids", "scale_ranges"])
def test_a_grid_for_each_level(option):
    with pytest.raises(SegbenchError, match=option):
        SOLO(make_view("instance"), 3, **(SMALL | {option: SMALL[option][:4]}))


@pytest.mark.parametrize("network", [SOLO, SOLOv2])
def test_in_bf16(network):
    torch.manual_seed(0)
    network = network(make_view("instance"), 3, **SMALL, score_threshold=0.0)
    images, targets = batch("instance", 2, (64, 64))
    with torch.autocast("cpu", torch.bfloat16):
        losses = network.losses(images, targets)
        found = network.eval().predict(images, [(64, 64)] * 2)[0].instances
    assert all(loss.dtype == torch.float32 and torch.isfinite(loss) for loss in losses.values())
    assert found.scores.dtype == torch.float32


@pytest.mark.parametrize("objects", [True, False])
def test_levels_without_objects_cost_no_backward_pass_and_change_no_gradient(objects, monkeypatch):
    view = make_view("instance")
    ranges = [(1, 2), (1, 2), (2, 100), (1, 2), (1, 2)] if objects else [(1, 2)] * 5
    torch.manual_seed(0)
    network = SOLOv2(view, 3, **SMALL | {"scale_ranges": ranges, "mask_channels": 32, "kernel_channels": 32})
    images, targets = batch("instance", 2, (64, 64))
    passes = []
    network.kernel.register_full_backward_hook(lambda *_: passes.append(1))

    def gradients() -> dict[str, torch.Tensor]:
        network.zero_grad()
        sum(network.losses(images, targets).values()).backward()
        return {name: p.grad.clone() for name, p in network.named_parameters() if p.requires_grad}

    fewer = gradients()
    assert len(passes) == 1
    monkeypatch.setattr(torch.Tensor, "detach", lambda tensor: tensor)
    every = gradients()
    assert len(passes) == 6
    assert all(torch.equal(fewer[name], every[name]) for name in every)
