import pytest
import torch
import torchvision
from network_tester import DISC, NetworkTester, batch, make_view
from torch import nn
from torchvision.models.detection.roi_heads import paste_masks_in_image

from segbench.data.dataset import View
from segbench.errors import SegbenchError
from segbench.models import mask_rcnn
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


FEWER = (  # torchvision's and our names of the same options, for speed
    {"rpn_post_nms_top_n_test": 200, "rpn_pre_nms_top_n_test": 200, "box_detections_per_img": 20},
    {"proposals_testing": 200, "detections_per_image": 20},
)


class TestMaskRCNN(NetworkTester):
    network = MaskRCNN
    backbone = "test_resnet"
    options = SMALL
    backbones = ("tf_efficientnet_lite0", "resnet18", "swin_tiny_patch4_window7_224")


@pytest.fixture(scope="module")
def pair():
    """torchvision's network with random weights and plausible norms, and ours with the same weights."""
    torch.manual_seed(0)
    theirs = torchvision.models.detection.maskrcnn_resnet50_fpn(
        weights=None, weights_backbone=None, num_classes=4, image_mean=[0] * 3, image_std=[1] * 3, **FEWER[0]
    )
    for module in theirs.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = None
    theirs.backbone.train()(torch.randn(2, 3, 128, 128))
    ours = MaskRCNN(View("instance", (DISC,) * 3), 3, **FEWER[1])
    state = {}
    for name, value in theirs.state_dict().items():
        name = name.replace("backbone.body.", "backbone.net.model.").replace("backbone.fpn.", "fpn.")
        state[name] = value
    ours.load_state_dict(state)
    return theirs.eval(), ours.eval()


def test_equals_torchvision(pair):
    theirs, ours = pair
    images, _ = batch("instance", 2, (97, 131))
    theirs.transform.min_size, theirs.transform.max_size = (97,), 131  # its size already: no resizing
    with torch.no_grad():
        expected = theirs(list(images))
        found = ours(images)
    predicted = ours.predict(images, [(97, 131)] * 2)
    for a, b, c in zip(found, expected, predicted):
        assert len(b["scores"]) == 20
        assert torch.equal(a["labels"], b["labels"]) and torch.equal(c.instances.labels + 1, b["labels"])
        for key in ("boxes", "scores"):
            torch.testing.assert_close(a[key], b[key], rtol=0, atol=1e-4)
            torch.testing.assert_close(getattr(c.instances, key), b[key], rtol=0, atol=1e-4)
        assert (c.instances.masks != (b["masks"][:, 0] > 0.5)).float().mean() < 1e-4


def test_losses_equal_torchvisions(pair):
    theirs, ours = pair
    images, targets = batch("instance", 2, (97, 131))
    theirs.transform.min_size, theirs.transform.max_size = (97,), 131
    truth = [{"boxes": t["boxes"], "labels": t["labels"] + 1, "masks": t["masks"].byte()} for t in targets]
    resized, truth = theirs.transform(list(images), truth)
    features = theirs.backbone(resized.tensors)
    torch.manual_seed(5)  # both draw the regions that the losses see
    theirs.rpn.train()
    theirs.roi_heads.train()
    proposals, expected = theirs.rpn(resized, features, truth)
    expected |= theirs.roi_heads(features, proposals, resized.image_sizes, truth)[1]
    theirs.eval()
    torch.manual_seed(5)
    found = ours.losses(images, targets)
    assert len(found) == len(expected) == 5
    for name, loss in expected.items():
        torch.testing.assert_close(found[name.removeprefix("loss_")], loss, rtol=1e-4, atol=1e-5)


@pytest.fixture(scope="module")
def trained():
    return TestMaskRCNN.trained("instance")[0]


def test_enlarged_predictions_are_pasted_in_bounded_memory(trained, monkeypatch):
    images, _ = batch("instance", 1, (64, 64))
    (whole,) = trained.predict(images, [(150, 90)])
    monkeypatch.setattr(mask_rcnn, "PASTE_PIXELS", 3 * 150 * 90)
    most = []
    monkeypatch.setattr(
        mask_rcnn,
        "paste_masks_in_image",
        lambda masks, boxes, size: most.append(len(masks)) or paste_masks_in_image(masks, boxes, size),
    )
    (parts,) = trained.predict(images, [(150, 90)])
    assert len(whole.instances.scores) > 3 >= max(most)
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
