import pytest
import torch
from network_tester import NetworkTester, batch, make_view

from segbench.errors import SegbenchError
from segbench.models.layers import box_masks
from segbench.models.mask_rcnn import MaskRCNN

SMALL = {
    "backbone": "test_resnet",
    "fpn_channels": 32,
    "box_channels": 64,
    "mask_channels": 16,
    "anchor_sizes": [8, 16, 32, 64, 128],
    "rois_per_image": 64,
    "proposals_training": 200,
}


class TestMaskRCNN(NetworkTester):
    network = MaskRCNN
    backbone = "test_resnet"
    options = SMALL
    backbones = ("tf_efficientnet_lite0", "resnet18", "swin_tiny_patch4_window7_224")


@pytest.fixture(scope="module")
def trained():
    return TestMaskRCNN.trained("instance")[0]


def test_enlarged_predictions_are_pasted_in_bounded_memory(trained, monkeypatch):
    images, _ = batch("instance", 1, (64, 64))
    (whole,) = trained.predict(images, [(150, 90)])
    monkeypatch.setattr(box_masks, "STRIP", 7 * 90 * len(whole.instances.scores))
    rows, weights = [], box_masks._weights
    monkeypatch.setattr(box_masks, "_weights", lambda *values: rows.append(values[3]) or weights(*values))
    (parts,) = trained.predict(images, [(150, 90)])
    assert rows == [90, *[7] * 21, 3]  # all columns, then strips of rows
    assert torch.equal(whole.instances.masks, parts.instances.masks)


def test_boxes_follow_the_size_asked_for(trained):
    images, _ = batch("instance", 1, (64, 64))
    (one,), (other,) = trained.predict(images, [(64, 64)]), trained.predict(images, [(128, 32)])
    torch.testing.assert_close(one.instances.boxes * torch.tensor([0.5, 2, 0.5, 2]), other.instances.boxes)


def test_a_small_first_image_does_not_change_later_ones():
    """torchvision fixes the pyramid's strides by the first image, wrongly for one of 33 pixels."""
    torch.manual_seed(0)
    network = MaskRCNN(make_view("instance"), 3, **SMALL).eval()
    images, _ = batch("instance", 1, (96, 96))
    (before,) = network(images)
    network(images[..., :33, :33])
    (after,) = network(images)
    assert torch.equal(before["scores"], after["scores"]) and torch.equal(before["boxes"], after["boxes"])
    assert network.roi_heads.mask_roi_pool.scales == [1 / 4, 1 / 8, 1 / 16, 1 / 32]


def test_objects_of_one_pixel_have_finite_losses():
    torch.manual_seed(0)
    network = MaskRCNN(make_view("instance"), 3, **SMALL)
    images, targets = batch("instance", 1, (64, 64))
    masks = torch.zeros(1, 64, 64, dtype=torch.bool)
    masks[0, 20, 30] = True
    targets[0] |= {"masks": masks, "labels": torch.tensor([1]), "boxes": torch.tensor([[30.0, 20, 30, 20]])}
    assert all(torch.isfinite(loss) for loss in network.losses(images, targets).values())


def test_the_number_of_detections_is_an_option():
    torch.manual_seed(0)
    images, _ = batch("instance", 1, (128, 128))
    for limit in (7, 400):
        network = MaskRCNN(make_view("instance"), 3, **SMALL, detections_per_image=limit, score_threshold=0.0)
        count = len(network.eval().predict(images, [(128, 128)])[0].instances.scores)
        assert count == 7 if limit == 7 else 100 < count <= 400


def test_bf16_keeps_boxes_in_full_precision():
    torch.manual_seed(0)
    network = MaskRCNN(make_view("instance"), 3, **SMALL)
    images, targets = batch("instance", 2, (64, 64))
    with torch.autocast("cpu", torch.bfloat16):
        losses = network.losses(images, targets)
        (found,) = network.eval()(images[:1])
    assert all(torch.isfinite(loss) for loss in losses.values())
    assert found["boxes"].dtype == torch.float32
    assert not torch.equal(found["boxes"], found["boxes"].bfloat16().float())


def test_class_agnostic_masks_learn_from_objects_of_every_class():
    torch.manual_seed(0)
    network = MaskRCNN(make_view("instance"), 3, **SMALL, class_agnostic_masks=True)
    logits = network.roi_heads.mask_predictor(torch.randn(5, 16, 14, 14))
    assert logits.shape == (5, 3, 28, 28) and torch.equal(logits[:, 0], logits[:, 2])
    network.losses(*batch("instance", 2, (64, 64)))["mask"].backward()
    assert network.roi_heads.mask_predictor.mask_fcn_logits.weight.grad.abs().sum() > 0
    network.eval().predict(batch("instance", 1, (64, 64))[0], [(64, 64)])


def test_anchor_sizes_are_one_a_level():
    with pytest.raises(SegbenchError, match="anchor_sizes"):
        MaskRCNN(make_view("instance"), 3, anchor_sizes=[32, 64])
