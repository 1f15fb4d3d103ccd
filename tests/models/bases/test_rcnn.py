"""Compare Faster and Mask R-CNN with torchvision's, with the same weights."""

import pytest
import torch
from network_tester import DISC, batch
from torch import nn
from torchvision.models import detection

from segbench.contract.view import View
from segbench.models.bases.rcnn import load_torchvision
from segbench.models.faster_rcnn import FasterRCNN
from segbench.models.mask_rcnn import MaskRCNN

FEWER = (  # torchvision's and our names of the same options, for speed
    {"rpn_post_nms_top_n_test": 200, "rpn_pre_nms_top_n_test": 200, "box_detections_per_img": 20},
    {"proposals_testing": 200, "detections_per_image": 20},
)


@pytest.fixture(
    scope="module",
    params=[
        (detection.fasterrcnn_resnet50_fpn, FasterRCNN),
        (detection.maskrcnn_resnet50_fpn, MaskRCNN),
    ],
    ids=["faster", "mask"],
)
def pair(request):
    """torchvision's network with random weights and plausible norms, and ours with the same weights."""
    build, network = request.param
    torch.manual_seed(0)
    theirs = build(
        weights=None, weights_backbone=None, num_classes=4, image_mean=[0] * 3, image_std=[1] * 3, **FEWER[0]
    )
    for module in theirs.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = None
    theirs.backbone.train()(torch.randn(2, 3, 128, 128))
    ours = network(View("instance", (DISC,) * 3), 3, **FEWER[1])
    load_torchvision(ours, theirs.state_dict())
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
        assert len(b["scores"]) == 20 and a.keys() == b.keys()
        assert torch.equal(a["labels"], b["labels"]) and torch.equal(c.instances.labels + 1, b["labels"])
        for key in ("boxes", "scores"):
            torch.testing.assert_close(a[key], b[key], rtol=0, atol=1e-4)
            torch.testing.assert_close(getattr(c.instances, key), b[key], rtol=0, atol=1e-4)
        if "masks" in b:
            assert (c.instances.masks != (b["masks"][:, 0] > 0.5)).float().mean() < 1e-4
        else:
            assert c.instances.masks is None


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
    assert {f"loss_{name}" for name in found} == expected.keys()
    for name, loss in expected.items():
        torch.testing.assert_close(found[name.removeprefix("loss_")], loss, rtol=1e-4, atol=1e-5)
