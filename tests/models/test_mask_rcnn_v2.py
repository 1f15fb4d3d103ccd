import pytest
import torch
from network_tester import DISC, NetworkTester, batch, empty_target, make_view
from torch import nn
from torchvision.models import resnet18
from torchvision.models.detection import faster_rcnn, mask_rcnn
from torchvision.models.detection.backbone_utils import BackboneWithFPN
from torchvision.models.detection.rpn import RPNHead

from segbench.contract.view import View
from segbench.models.bases.rcnn import load_torchvision
from segbench.models.losses.sampling import Sampler
from segbench.models.mask_rcnn_v2 import MaskRCNNV2

SMALL = {
    "backbone": "test_resnet",
    "fpn_channels": 32,
    "box_channels": 64,
    "mask_channels": 16,
    "anchor_sizes": [8, 16, 32, 64, 128],
    "rois_per_image": 64,
    "proposals_training": 200,
}


class TestMaskRCNNV2(NetworkTester):
    network = MaskRCNNV2
    backbone = "test_resnet"
    options = SMALL
    backbones = ("tf_efficientnet_lite0", "resnet18")


LAYERS = {"layer1": "0", "layer2": "1", "layer3": "2", "layer4": "3"}
EVERYTHING = 100_000
"""Regions in the losses, so that both networks draw all of them."""


@pytest.fixture(scope="module")
def pair():
    """What `maskrcnn_resnet50_fpn_v2` builds, but small, with plausible norms; ours with the same weights."""
    torch.manual_seed(0)
    body, norm = resnet18(weights=None), nn.BatchNorm2d
    theirs = mask_rcnn.MaskRCNN(
        BackboneWithFPN(body, LAYERS, [64, 128, 256, 512], 32, norm_layer=norm),
        rpn_anchor_generator=faster_rcnn._default_anchorgen(),
        rpn_head=RPNHead(32, 3, conv_depth=2),
        box_head=faster_rcnn.FastRCNNConvFCHead((32, 7, 7), [32] * 4, [64], norm_layer=norm),
        box_predictor=faster_rcnn.FastRCNNPredictor(64, 4),
        mask_head=mask_rcnn.MaskRCNNHeads(32, [16] * 4, 1, norm_layer=norm),
        mask_predictor=mask_rcnn.MaskRCNNPredictor(16, 16, 4),
        image_mean=[0] * 3,
        image_std=[1] * 3,
        min_size=97,
        max_size=131,  # the size of the images
        rpn_batch_size_per_image=EVERYTHING,
        box_batch_size_per_image=EVERYTHING,
        rpn_post_nms_top_n_train=200,
        rpn_pre_nms_top_n_train=200,
        box_detections_per_img=20,
    )
    norms = [module for module in theirs.modules() if isinstance(module, norm)]
    for one in norms:
        one.momentum = None
    theirs.train()(*torchvision_batch())
    for one in norms:
        one.momentum = 0.1
    ours = MaskRCNNV2(
        View("instance", (DISC,) * 3),
        3,
        backbone="resnet18",
        fpn_channels=32,
        box_channels=64,
        mask_channels=16,
        proposals_training=200,
        detections_per_image=20,
        rois_per_image=EVERYTHING,
    )
    ours.rpn.fg_bg_sampler = Sampler(EVERYTHING, 0.5)
    load_torchvision(ours, theirs.state_dict())
    return theirs, ours


def torchvision_batch():
    images, targets = batch("instance", 2, (97, 131))
    truth = [{"boxes": t["boxes"], "labels": t["labels"] + 1, "masks": t["masks"].byte()} for t in targets]
    return list(images), truth


def test_equals_torchvision(pair):
    theirs, ours = (network.eval() for network in pair)
    images, _ = batch("instance", 2, (97, 131))
    with torch.no_grad():
        expected = theirs(list(images))
    for found, other in zip(ours.predict(images, [(97, 131)] * 2), expected):
        assert len(other["scores"]) == 20
        assert torch.equal(found.instances.labels + 1, other["labels"])
        torch.testing.assert_close(found.instances.scores, other["scores"], rtol=0, atol=1e-5)
        torch.testing.assert_close(found.instances.boxes, other["boxes"], rtol=0, atol=1e-3)
        assert (found.instances.masks != (other["masks"][:, 0] > 0.5)).float().mean() < 1e-4


def test_losses_equal_torchvisions(pair):
    theirs, ours = (network.train() for network in pair)
    expected = theirs(*torchvision_batch())
    found = ours.losses(*batch("instance", 2, (97, 131)))
    assert {f"loss_{name}" for name in found} == expected.keys()
    for name, loss in expected.items():
        torch.testing.assert_close(found[name.removeprefix("loss_")], loss, rtol=1e-5, atol=1e-5)


def test_norms_of_heads_without_regions_keep_their_statistics():
    torch.manual_seed(0)
    network = MaskRCNNV2(make_view("instance"), 3, **SMALL).train()
    norms = [m for m in network.roi_heads.mask_head.modules() if isinstance(m, nn.BatchNorm2d)]
    images, _ = batch("instance", 2, (64, 64))
    network.losses(images, [empty_target("instance", (64, 64), void=False)] * 2)
    assert norms and all(torch.equal(norm.running_mean, torch.zeros(16)) for norm in norms)
    network.losses(*batch("instance", 2, (64, 64)))
    assert all(norm.running_mean.abs().sum() > 0 for norm in norms)


def test_has_as_many_parameters_as_torchvision():
    """num_params of MaskRCNN_ResNet50_FPN_V2_Weights.COCO_V1"""
    with torch.device("meta"):
        network = MaskRCNNV2(View("instance", (DISC,) * 90), 3)
    assert sum(p.numel() for p in network.parameters()) == 46_359_409
