"""Tests of all networks for Panoptic-DeepLab, and comparison with the authors' code."""

import torch
from mapped_weights import fill, waves
from network_tester import NetworkTester, batch, make_view, scene

from segbench.models.losses.segments import segments_of
from segbench.models.panoptic_deeplab import PanopticDeepLab
from segbench.models.panoptic_deeplab.grouping import group
from segbench.models.panoptic_deeplab.targets import targets_of

# bowenc0221/panoptic-deeplab at cf8e20b, the authors' code: ResNet-50 at stride 16, 4 classes, and its other
# sizes as in configs/panoptic_deeplab_R50_os32_cityscapes.yaml; fill([backbone, decoder]); class logits,
# centre, offset[0, :, ::32, ::48] of waves(65, 97), in evaluation mode.
# With random weights, at stride 16 and 32, all maps (65 x 97 and 129 x 161 pixels) were equal to 5e-7, the
# targets to 4e-6, the sum of the losses, without void, to the last digit of float32, and of four noisy maps
# with 123 to 135 centres each pixel went to the same segment.
AUTHORS = [
    [[-0.01027, -0.01204, -0.01908], [-0.05294, -0.00955, -0.01076], [-0.02498, -0.01853, -0.01241]],
    [[0.00778, 0.01565, 0.01697], [0.03569, 0.01493, 0.04819], [0.02710, 0.01220, 0.01126]],
    [[-0.01230, -0.03521, 0.00377], [-0.01870, -0.00735, -0.01648], [0.02746, -0.03609, -0.04429]],
    [[-0.03836, -0.07348, -0.04003], [-0.03457, -0.09396, -0.09803], [-0.04233, -0.04559, -0.07351]],
    [[0.00716, 0.00991, 0.02995], [0.01689, 0.03391, 0.03522], [0.00336, 0.01411, 0.00140]],
    [[-0.03915, -0.04941, -0.03017], [-0.02528, -0.04249, -0.04010], [0.00276, 0.02791, -0.04396]],
    [[0.03665, 0.04927, 0.01330], [-0.01760, -0.05665, 0.00941], [-0.00265, -0.06864, 0.00902]],
]


class TestPanopticDeepLab(NetworkTester):
    network = PanopticDeepLab
    options = {
        "backbone": "test_resnet",
        "channels": 32,
        "low_channels": [16, 16],
        "instance_channels": 32,
        "instance_low_channels": [16, 16],
        "dropout": 0.0,
        "sigma": 4.0,
        "weights": [1.0, 200.0, 0.1],
    }
    backbone = "test_resnet"
    backbones = ("resnet18", "tf_efficientnet_lite0", "convnext_atto")
    lr = 3e-3
    steps = 200


def test_equals_the_authors_code():
    network = PanopticDeepLab(make_view("panoptic"), 3, align_corners=True).eval()
    heads = [network.instance_decoder, network.centre_head, network.offset_head]
    fill([network.backbone, network.semantic_decoder, network.semantic_head, *heads])
    with torch.no_grad():
        semantic, centre, offset = network(waves(65, 97))
    found = torch.cat([semantic, centre[:, None], offset], 1)[0, :, ::32, ::48]
    torch.testing.assert_close(found, torch.tensor(AUTHORS), rtol=0, atol=2e-5)


def test_true_maps_give_true_segments():
    _, target = scene("panoptic", (65, 97), 3)
    truth = targets_of(segments_of("panoptic", [target]), (2, 3), sigma=8.0, small_area=0)
    probability = torch.nn.functional.one_hot(truth.semantic[0], 4).permute(2, 0, 1).float()
    found = group(probability, truth.centre[0], truth.offset[0], (2, 3), 0.1, 7, 200, 0)
    assert sorted(found.labels.tolist()) == sorted(target["labels"].tolist())
    for mask in target["masks"]:
        number = int(found.segments[mask][0])
        assert torch.equal(found.segments == number, mask)


def test_trains_on_a_single_image():
    network = TestPanopticDeepLab.make("panoptic").train()
    assert torch.isfinite(sum(network.losses(*batch("panoptic", 1, (64, 64))).values()))


def test_predictions_are_made_in_float32():
    """bfloat16 has steps of a pixel from 128 on."""
    network = TestPanopticDeepLab.make("panoptic").eval()
    with torch.autocast("cpu", torch.bfloat16):
        maps = network(batch("panoptic", 1, (64, 64))[0])
    assert {m.dtype for m in maps} == {torch.float32}
