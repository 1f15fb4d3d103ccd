import pytest
import torch
from network_tester import DISC, NetworkTester, batch, make_view
from torch import nn
from torchvision.models import resnet18
from torchvision.models.detection import fcos, retinanet
from torchvision.models.detection.backbone_utils import BackboneWithFPN
from torchvision.ops.feature_pyramid_network import LastLevelP6P7

from segbench.contract.view import View
from segbench.errors import SegbenchError
from segbench.models.bases.rcnn import load_torchvision
from segbench.models.one_stage import FCOS, RetinaNet


class TestRetinaNet(NetworkTester):
    network = RetinaNet
    tasks = ("detection",)
    backbone = "test_resnet"
    options = {"backbone": "test_resnet", "fpn_channels": 32, "anchor_sizes": (16, 32, 64, 128, 256)}
    backbones = ("tf_efficientnet_lite0", "resnet18")
    lr = 0.001
    steps = 220  # no norms in the head


class TestFCOS(NetworkTester):
    network = FCOS
    tasks = ("detection",)
    backbone = "test_resnet"
    options = {"backbone": "test_resnet", "fpn_channels": 64}
    backbones = ("tf_efficientnet_lite0", "resnet18")


LAYERS = {"layer2": "0", "layer3": "1", "layer4": "2"}


def pair(kind, theirs_kind, **options):
    """torchvision's detector, small, and ours with the same weights."""
    torch.manual_seed(0)
    body = BackboneWithFPN(resnet18(), LAYERS, [128, 256, 512], 64, extra_blocks=LastLevelP6P7(64, 64))
    theirs = theirs_kind(
        body, 3, min_size=97, max_size=131, image_mean=[0] * 3, image_std=[1] * 3, score_thresh=0, **options
    )
    ours = kind(View("detection", (DISC,) * 3), 3, backbone="resnet18", fpn_channels=64, score_threshold=0)
    state = theirs.state_dict()
    load_torchvision(ours, {k.replace("head.", "detector.head.", 1): v for k, v in state.items()})
    return theirs, ours


PAIRS = [
    pytest.param(RetinaNet, retinanet.RetinaNet, {"detections_per_img": 300}, id="retinanet"),
    pytest.param(FCOS, fcos.FCOS, {}, id="fcos"),
]


@pytest.mark.parametrize(("kind", "theirs_kind", "options"), PAIRS)
def test_equals_torchvision(kind, theirs_kind, options):
    theirs, ours = pair(kind, theirs_kind, **options)
    images, targets = batch("detection", 2, (97, 131))
    truth = [{"boxes": t["boxes"], "labels": t["labels"]} for t in targets]
    for network in (theirs, ours):  # running statistics as after training
        network.train()
    expected, found = theirs(list(images), truth), ours.losses(images, targets)
    assert found.keys() == expected.keys()
    for name, loss in expected.items():
        torch.testing.assert_close(found[name], loss, rtol=1e-5, atol=1e-5)
    for network in (theirs, ours):
        network.eval()
    with torch.no_grad():
        predictions = theirs(list(images))
    for mine, other in zip(ours.predict(images, [(97, 131)] * 2), predictions):
        assert len(other["scores"]) >= 100 and mine.instances.masks is None
        assert torch.equal(mine.instances.labels, other["labels"])
        torch.testing.assert_close(mine.instances.scores, other["scores"], rtol=0, atol=1e-5)
        torch.testing.assert_close(mine.instances.boxes, other["boxes"], rtol=0, atol=1e-3)


@pytest.mark.parametrize(
    ("kind", "parameters"), [(RetinaNet, 34_014_999), (FCOS, 32_269_600)], ids=["retinanet", "fcos"]
)
def test_has_as_many_parameters_as_torchvision(kind, parameters):
    """num_params of the weights COCO_V1, of 91 classes; torchvision's norms of the backbone are frozen."""
    with torch.device("meta"):
        network = kind(View("detection", (DISC,) * 91), 3)
    norms = sum(p.numel() for m in network.modules() if isinstance(m, nn.BatchNorm2d) for p in m.parameters())
    assert sum(p.numel() for p in network.parameters()) - norms in (parameters, parameters - norms)


def test_options_that_do_not_fit_are_named():
    with pytest.raises(SegbenchError, match="32 groups"):
        FCOS(make_view("detection"), 3, backbone="test_resnet", fpn_channels=48)
    with pytest.raises(SegbenchError, match="2 entries"):
        RetinaNet(make_view("detection"), 3, backbone="test_resnet", anchor_sizes=(8, 16))
