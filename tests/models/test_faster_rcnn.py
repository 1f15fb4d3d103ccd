from network_tester import NetworkTester, batch

from segbench.models.faster_rcnn import FasterRCNN


class TestFasterRCNN(NetworkTester):
    network = FasterRCNN
    tasks = ("detection",)  # masks change nothing, see below
    backbone = "test_resnet"
    options = {
        "backbone": "test_resnet",
        "fpn_channels": 32,
        "box_channels": 64,
        "anchor_sizes": [8, 16, 32, 64, 128],
        "rois_per_image": 64,
        "proposals_training": 200,
    }
    backbones = ("tf_efficientnet_lite0", "resnet18", "swin_tiny_patch4_window7_224")


def test_masks_change_nothing():
    boxes, masks = (
        TestFasterRCNN.make(task).train().losses(*batch(task, 2, (64, 64)))
        for task in ("detection", "instance")
    )
    assert {k: v.item() for k, v in boxes.items()} == {k: v.item() for k, v in masks.items()}
    assert FasterRCNN.tasks == ("detection", "instance")
