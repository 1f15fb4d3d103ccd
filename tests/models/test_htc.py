import pytest
import torch
from network_tester import NetworkTester, batch, empty_target, make_view

from segbench.contract.prediction import IGNORE, Instances
from segbench.models.htc import HTC, combined, semantic_cells

SMALL = {
    "backbone": "test_resnet",
    "fpn_channels": 32,
    "box_channels": 64,
    "mask_channels": 16,
    "anchor_sizes": [8, 16, 32, 64, 128],
    "rois_per_image": 48,
    "proposals_training": 100,
    "proposals_testing": 100,
    "score_threshold": 0.05,
}


class TestHTC(NetworkTester):
    network = HTC
    backbone = "test_resnet"
    options = SMALL
    backbones = ("tf_efficientnet_lite0", "resnet18", "swin_tiny_patch4_window7_224")
    steps = 45


def test_semantic_truth_is_that_of_the_middle_of_each_cell():
    masks = torch.zeros(2, 20, 24, dtype=torch.bool)
    masks[0, :, :13], masks[1, 10:, 13:] = True, True
    cells = semantic_cells({"labels": torch.tensor([3, 1]), "masks": masks}, (4, 4))
    assert cells.tolist() == [[3, 3, IGNORE, IGNORE], [3, 3, 1, IGNORE], [IGNORE] * 4, [IGNORE] * 4]
    empty = semantic_cells(empty_target("panoptic", (20, 24), void=True), (3, 3))
    assert (empty == IGNORE).all()


def test_objects_come_before_stuff_and_better_ones_first():
    masks = torch.zeros(4, 6, 10, dtype=torch.bool)
    masks[0, :3, :4] = True
    masks[1, :3, 3:7] = True  # loses a quarter to the one before
    masks[2, :2, 3:6] = True  # hidden
    masks[3, 4:, 4:] = True  # uncertain
    objects = Instances(torch.tensor([0.9, 0.8, 0.7, 0.4]), torch.tensor([2, 3, 2, 2]), masks)
    semantic = torch.zeros(6, 10, dtype=torch.int64)
    semantic[3:], semantic[5, 9] = 1, 3
    found = combined(objects, semantic, torch.tensor([2, 3]), 4)
    assert found.labels.tolist() == [2, 3, 0, 1]
    assert found.scores.tolist() == pytest.approx([0.9, 0.8, 1, 1])
    assert (found.segments[:3, :4] == 1).all() and (found.segments[:3, 4:7] == 2).all()
    assert (found.segments[:3, 7:] == 3).all() and (found.segments[3:5] == 4).all()
    assert found.segments[5, 9] == 0, "a thing that is no object"
    nothing = Instances(torch.zeros(0), torch.zeros(0, dtype=torch.int64), masks[:0])
    assert len(combined(nothing, semantic * 0 + 3, torch.tensor([2, 3]), 4).labels) == 0


def test_a_panoptic_view_has_the_semantic_branch_and_boxes_for_things_only():
    torch.manual_seed(0)
    panoptic = HTC(make_view("panoptic"), 3, **SMALL)
    instance = HTC(make_view("instance"), 3, **SMALL)
    assert panoptic.semantic.logits.out_channels == 4 and instance.semantic is None
    shapes = {k: v.shape for k, v in panoptic.state_dict().items() if not k.startswith("semantic.")}
    assert shapes == {k: v.shape for k, v in instance.state_dict().items()}
    losses = panoptic.losses(*batch("panoptic", 2, (64, 64)))
    assert losses.keys() - instance.losses(*batch("instance", 2, (64, 64))).keys() == {"semantic"}
    found = panoptic.eval().predict(batch("panoptic", 1, (64, 64))[0], [(64, 64)])[0]
    assert len(found.instances.labels) and set(found.instances.labels.tolist()) <= {2, 3}


def test_bf16_keeps_boxes_in_full_precision():
    torch.manual_seed(0)
    network = HTC(make_view("panoptic"), 3, **SMALL)
    with torch.autocast("cpu", torch.bfloat16):
        losses = network.losses(*batch("panoptic", 2, (64, 64)))
        (found,) = network.eval()(batch("panoptic", 1, (64, 64))[0])
    assert all(torch.isfinite(loss) for loss in losses.values())
    assert found["boxes"].dtype == torch.float32
    assert not torch.equal(found["boxes"], found["boxes"].bfloat16().float())
