import math

import pytest
import torch
from network_tester import NetworkTester, batch, make_view
from torchvision.ops import generalized_box_iou_loss

from segbench.contract.prediction import IGNORE
from segbench.models.blendmask import BlendMask
from segbench.models.blendmask.fcos import centreness, places
from segbench.models.blendmask.network import blend, semantic_truth
from segbench.models.losses.detection import side_giou

SMALL = {
    "backbone": "test_resnet",
    "fpn_channels": 32,
    "convolutions": 2,
    "base_channels": 32,
    "base_convolutions": 1,
}


class TestBlendMask(NetworkTester):
    network = BlendMask
    backbone = "test_resnet"
    options = SMALL
    backbones = ("tf_efficientnet_lite0", "resnet18", "swin_tiny_patch4_window7_224")


def test_blend_by_hand():
    """Two bases of 2 x 2; attention of one place says 3 : 1, of 2 x 2 places one or the other."""
    bases = torch.tensor([[[1.0, 2], [3, 4]], [[-4, 0], [4, 8]]])
    even = torch.tensor([math.log(3), 0.0]).view(2, 1, 1)
    assert torch.allclose(blend(bases[None], even[None])[0], torch.tensor([[-0.25, 1.5], [3.25, 5]]))
    chosen = torch.tensor([[[100.0, 0], [0, 100]], [[0, 100], [100, 0]]])
    assert torch.allclose(blend(bases[None], chosen[None])[0], torch.tensor([[1.0, 0], [4, 4]]))


def test_attention_is_enlarged_before_the_softmax():
    bases = torch.stack([torch.ones(4, 4), torch.zeros(4, 4)])[None]
    attention = torch.tensor([[[0.0, 4]], [[0, 0]]])[None]  # 1 x 2 columns -> 0, 1, 3, 4
    expected = torch.tensor([0.0, 1, 3, 4]).sigmoid().expand(4, 4)
    assert torch.allclose(blend(bases, attention)[0], expected)


def test_centreness_by_hand():
    sides = torch.tensor([[2.0, 3, 2, 3], [1, 2, 4, 8]])
    assert centreness(sides).tolist() == pytest.approx([1, 0.25])


def test_giou_of_sides_is_torchvisions_for_large_boxes():
    """The 1 that is added to areas vanishes; by hand where it does not: 4 in 6 of a hull of 6."""
    torch.manual_seed(0)
    found, truth = 1000 * torch.rand(2, 5, 4)
    corners = [torch.cat([-s[:, :2], s[:, 2:]], 1) for s in (found, truth)]
    torch.testing.assert_close(side_giou(found, truth), generalized_box_iou_loss(*corners), rtol=0, atol=1e-4)
    small = side_giou(torch.tensor([[1.0, 1, 1, 1]]), torch.tensor([[2.0, 1, 1, 1]]))
    assert small.tolist() == pytest.approx([1 - 5 / 7])


def test_a_place_takes_the_smallest_object_that_it_is_in_the_middle_of():
    levels = [torch.zeros(1, 1, 4, 4), torch.zeros(1, 1, 2, 2)]
    grid = places(levels, (8, 16), (24.0,))
    assert grid.centre[:5].tolist() == [[4, 4], [12, 4], [20, 4], [28, 4], [4, 12]]
    boxes = torch.tensor([[0.0, 0, 32, 32], [6, 6, 18, 18], [18, 6, 18, 18]])  # the last has no area
    chosen, sides = grid.assign(boxes, 1.5)
    # at stride 8 the large one has the places within 12 of its middle whose farthest side is at most 24
    assert chosen[:16].view(4, 4).tolist() == [[-1] * 4, [-1, 1, 0, -1], [-1, 0, 0, -1], [-1] * 4]
    assert chosen[16:].tolist() == [0, 0, 0, 0]
    assert sides[5].tolist() == [6, 6, 6, 6] and sides[16].tolist() == [8, 8, 24, 24]
    nothing, _ = grid.assign(boxes[:0], 1.5)
    assert (nothing == -1).all()


def test_semantic_truth_of_objects_one_over_the_other():
    masks = torch.zeros(2, 20, 24, dtype=torch.bool)
    masks[0, :, :10] = masks[1, 8:, 8:] = True
    valid = torch.ones(20, 24, dtype=torch.bool)
    valid[:8, 16:] = False
    target = {"labels": torch.tensor([1, 0]), "masks": masks, "valid": valid}
    found = semantic_truth(target, torch.Size([4, 4]))
    x = IGNORE
    assert found.tolist() == [[2, 2, x, x], [2, 1, 1, x], [2, 1, 1, x], [x, x, x, x]]


def test_boxes_stay_in_the_image():
    torch.manual_seed(0)
    network = BlendMask(make_view("instance"), 3, **SMALL, score_threshold=0.0).eval()
    torch.nn.init.constant_(network.fcos.boxes.bbox_reg.bias, 3.0)
    (found,) = network.predict(batch("instance", 1, (45, 71))[0], [(90, 142)])
    boxes = found.instances.boxes
    assert len(boxes) and boxes.min() >= 0 and boxes.amax(0)[2:].tolist() == [142, 90]


def test_bf16_keeps_boxes_in_full_precision():
    torch.manual_seed(0)
    network = BlendMask(make_view("instance"), 3, **SMALL, score_threshold=0.0)
    torch.nn.init.constant_(network.fcos.boxes.bbox_reg.bias, 1.01)
    images, targets = batch("instance", 2, (64, 64))
    with torch.autocast("cpu", torch.bfloat16):
        losses = network.losses(images, targets)
        (found,) = network.eval()(images[:1])
    assert all(loss.dtype == torch.float32 and torch.isfinite(loss) for loss in losses.values())
    assert len(found["scores"]) and found["masks"].dtype == found["boxes"].dtype == torch.float32
