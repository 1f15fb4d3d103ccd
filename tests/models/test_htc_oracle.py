"""Compare HTC with mmdetection's head, whose inputs and outputs are recorded here.

open-mmlab/mmdetection at c14dd6c (2.28.1): HybridTaskCascadeRoIHead as in configs/htc/htc_r50_fpn_1x_coco.py
(panoptic) and htc_without_semantic_r50_fpn_1x_coco.py (instance), with 8 channels, 16 in the boxes' linear
layers, 2 classes, 4 of them in the semantic head; sampling_ratio=2 and aligned=False in RoIAlign (as when the
paper appeared, and as torchvision has it), the operators of mmcv.ops by torchvision, score_thr=0.05, num=4096
regions a stage, so that none is drawn by chance, and true masks cut out by torchvision's
project_masks_on_boxes. Weights: `network`; background is class 0 here, mmdetection's last.
Run side by side, the boxes of all 102 and 100 detections differed by at most 3e-5, scores by 1e-7, masks by
4e-6, losses by 1e-6; semantic logits and features were equal.
"""

from __future__ import annotations

import numpy as np
import pytest
import torch
from mapped_weights import fill
from network_tester import make_view

from segbench.models.htc import HTC
from segbench.models.losses.semantic import cross_entropy

SIZE = (128, 160)
RECORDED = {
    "instance": {
        "detections": [56, 46],
        "boxes": [
            [70.1881, 11.7672, 95.5833, 68.7843],
            [4.6663, 92.05, 41.4907, 128.0],
            [66.15, 55.2178, 111.5044, 73.7999],
            [95.4989, 90.7615, 135.867, 117.6277],
        ],
        "scores": [0.404769, 0.402452, 0.39668, 0.395221],
        "labels": [1, 0, 1, 0],
        "masks": [[[0.617106, 0.746861], [0.530769, 0.492361]], [[0.519473, 0.660963], [0.54244, 0.393331]]],
        "losses": {
            "classifier_1": 1.204887,
            "box_reg_1": 0.188337,
            "mask_1": 0.669031,
            "classifier_2": 0.530689,
            "box_reg_2": 0.149943,
            "mask_2": 0.327607,
            "classifier_3": 0.281709,
            "box_reg_3": 0.106894,
            "mask_3": 0.19335,
        },
    },
    "panoptic": {
        "detections": [54, 46],
        "boxes": [
            [77.8348, 107.2147, 98.7352, 126.4106],
            [2.3602, 92.3556, 47.9124, 124.5383],
            [54.9093, 94.1796, 123.6527, 114.6521],
            [88.6994, 51.5957, 108.6691, 118.8168],
        ],
        "scores": [0.369938, 0.366792, 0.35649, 0.350951],
        "labels": [1, 1, 1, 1],
        "masks": [[[0.63233, 0.56919], [0.518113, 0.428651]], [[0.643705, 0.46112], [0.503952, 0.416894]]],
        "losses": {
            "semantic": 0.277346,
            "classifier_1": 0.97081,
            "box_reg_1": 0.171675,
            "mask_1": 0.73687,
            "classifier_2": 0.51167,
            "box_reg_2": 0.147561,
            "mask_2": 0.360648,
            "classifier_3": 0.280298,
            "box_reg_3": 0.066711,
            "mask_3": 0.278159,
        },
    },
}


def make_network(task: str) -> HTC:
    small = {"backbone": "test_resnet", "fpn_channels": 8, "box_channels": 16, "mask_channels": 8}
    network = HTC(make_view(task), 3, **small, score_threshold=0.05, rois_per_image=4096).eval()
    fill([*([network.semantic] if network.semantic else []), network.stages, network.mask_heads])
    with torch.no_grad():
        for parameter in network.mask_heads.parameters():
            parameter *= 1.7  # else the masks of random weights are nearly flat
    return network


def make_features() -> dict[str, torch.Tensor]:
    """Waves on five levels of two images."""
    levels = {}
    for name, stride in zip(("0", "1", "2", "3", "pool"), (4, 8, 16, 32, 64)):
        y = torch.arange(SIZE[0] // stride, dtype=torch.float64)[:, None] * stride / 16
        x = torch.arange(SIZE[1] // stride, dtype=torch.float64) * stride / 16
        waves = [[torch.sin((c + 1) * 0.4 * y + (i + 1) * 0.7 * x + c) for c in range(8)] for i in range(2)]
        levels[name] = torch.stack([torch.stack(image) for image in waves]).float()
    return levels


def make_proposals() -> list[torch.Tensor]:
    random = np.random.RandomState(0)
    proposals = []
    for count in (30, 24):
        centre, side = random.uniform(10, 120, (count, 2)), random.uniform(8, 70, (count, 2))
        boxes = np.concatenate([centre - side / 2, centre + side / 2], 1)
        boxes[:, 0::2], boxes[:, 1::2] = boxes[:, 0::2].clip(0, SIZE[1]), boxes[:, 1::2].clip(0, SIZE[0])
        proposals.append(torch.tensor(boxes, dtype=torch.float32))
    return proposals


def make_truth() -> list[dict[str, torch.Tensor]]:
    """Ellipses near the first three proposals of each image."""
    truth = []
    y, x = torch.arange(SIZE[0])[:, None], torch.arange(SIZE[1])
    for proposals in make_proposals():
        boxes = (proposals[:3] + torch.tensor([1.0, -1, 2, 1])).clamp(0, 126)
        masks = [
            ((y - (y0 + y1) / 2) / ((y1 - y0) / 2)) ** 2 + ((x - (x0 + x1) / 2) / ((x1 - x0) / 2)) ** 2 <= 1
            for x0, y0, x1, y1 in boxes
        ]
        truth.append({"boxes": boxes, "labels": torch.tensor([1, 2, 1]), "masks": torch.stack(masks)})
    return truth


@pytest.mark.parametrize("task", ["instance", "panoptic"])
def test_detections_equal_mmdetections(task):
    network, features, recorded = make_network(task), make_features(), RECORDED[task]
    with torch.no_grad():
        embedding = network.semantic([*features.values()])[1] if network.semantic else None
        found = network.objects(features, embedding, make_proposals(), [SIZE] * 2)
    assert [len(one["labels"]) for one in found] == recorded["detections"]
    for key in ("boxes", "scores"):
        expected = torch.tensor(recorded[key])
        torch.testing.assert_close(found[1][key][:4], expected, rtol=0, atol=1e-4)
    assert (found[1]["labels"][:4] - 1).tolist() == recorded["labels"]
    masks = found[1]["masks"][:2, 0, 4::13, 4::13]
    torch.testing.assert_close(masks, torch.tensor(recorded["masks"]), rtol=0, atol=1e-5)


@pytest.mark.parametrize("task", ["instance", "panoptic"])
def test_losses_equal_mmdetections(task):
    network, features = make_network(task), make_features()
    logits, embedding = network.semantic([*features.values()]) if network.semantic else (None, None)
    losses = network.cascade_losses(features, embedding, make_proposals(), [SIZE] * 2, make_truth())
    if logits is not None:
        semantic = (torch.arange(2 * 16 * 20) % 7 % 4).view(2, 16, 20)
        losses["semantic"] = network.semantic_weight * cross_entropy(logits, semantic)
    assert losses.keys() == RECORDED[task]["losses"].keys()
    for name, expected in RECORDED[task]["losses"].items():
        assert float(losses[name]) == pytest.approx(expected, abs=1e-5), name
