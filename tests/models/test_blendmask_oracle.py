"""Equality with AdelaiDet's FCOS, `ProtoNet` and `Blender`, which ran once on what `case` gives.

Their layers had our weights, in order; options as in their configs/BlendMask/R_50_3x.yaml, but for sizes.
Boxes were cut to the image before the blender. Below stands what they answered: every so many numbers of the
outputs, the object of each place (level after level, row after row; "." is none), the losses, and of the
detections of each image the number and every fifth.
"""

import pytest
import torch
from mapped_weights import fill
from network_tester import make_view
from recorded_case import ellipses, numbers, pyramid

from segbench.models.blendmask import BlendMask

SIZE = (96, 160)
COVERED = (90, 150)
OPTIONS = {
    "backbone": "test_resnet",
    "fpn_channels": 32,
    "convolutions": 2,
    "base_channels": 32,
    "base_convolutions": 1,
    "attention_size": 4,
    "mask_size": 14,
    "limits": [16, 24, 36, 60],
    "score_threshold": 0.2,
}


def case():
    """A network with reproducible weights, five levels of features, and targets."""
    ours = BlendMask(make_view("instance"), 3, **OPTIONS).eval()
    fill([ours.fcos, ours.bases])
    return ours, pyramid([(12, 20), (6, 10), (3, 5), (2, 3), (1, 2)]), ellipses(*SIZE)


OBJECTS = [
    "................................................................................"
    "................................................................................"
    "....2........................................................................... "
    "...........0...................22........22................. 0..........3... .1.... 1.",
    "55..................55.........................................................."
    "................................................................................"
    "................................................................................ "
    "..........................4................................. ............... ...... ..",
]
OUTPUTS = {  # name: step, numbers
    "classes": (
        61,
        """
0.04633 0.7904 0.30428 -0.04683 -0.25111 0.04018 -0.36518 -0.63591 0.30105 0.09736 -0.73485 0.45775
0.14471 -0.8183 0.33032 0.04503 0.71591 -0.79711 -0.17641 0.37957 -0.89606 -0.23601
""",
    ),
    "sides": (
        127,
        """
0.12239 0.0 0.0 0.32223 0.25293 1.29074 0.0 0.98698 0.90519 0.27069 0.18062 0.67583 0.63913 0.16299 0.0
1.03353 0.0 0.61235 0.01602 0.02059 0.46714
""",
    ),
    "centreness": (
        41,
        """
0.31919 -0.10724 0.34668 0.10967 0.80214 0.95381 -0.06877 -0.21787 1.13509 -0.50416 0.90095 0.63193
0.97623 0.60703 -0.44337 0.73939
""",
    ),
    "top": (
        2003,
        """
-0.38409 -0.22346 0.35497 0.11124 0.84169 0.52571 0.13644 -0.00846 -0.22611 -0.41928 -3e-05 0.92104
1.24749 -0.90673 -0.36645 -1.00499 0.87113 0.59229 -0.38729 0.30973 -1.12895
""",
    ),
    "bases": (
        377,
        """
0.43223 -1.02594 -0.54366 0.45175 0.36283 0.09957 -1.00119 -0.16345 -1.00633 -0.64246 -0.48057 -0.55084
-0.37065 0.53238 0.54702 0.41242 -0.31422 -0.67358 -0.70973 -0.64027 -0.54543
""",
    ),
}
LOSSES = {"class": 12.71865, "box": 0.57865, "centreness": 0.76824, "semantic": 0.47203, "mask": 0.76184}
DETECTIONS = [  # number, then scores, labels, boxes and mean of the masks of every fifth
    (
        69,
        [
            0.80583,
            0.73824,
            0.71096,
            0.68178,
            0.66715,
            0.65797,
            0.65009,
            0.64679,
            0.64079,
            0.63382,
            0.6305,
            0.62348,
            0.61817,
            0.61299,
        ],
        [0, 1, 0, 0, 1, 1, 1, 0, 1, 0, 0, 0, 0, 1],
        """
44.45014 21.60796 56.3726 58.03447 18.08768 84.10416 20.0 90.0 12.0 42.84044 13.12604 46.20912 102.91317
82.37932 108.0 86.14165 82.1434 6.85895 92.11813 12.0 123.21083 7.78874 125.68608 20.0 12.43299 28.0
20.0 36.70271 37.0457 34.1564 44.0 55.55532 103.06361 89.59342 108.0 90.0 149.7518 38.20464 150.0
62.16481 2.61225 86.45932 6.41371 90.0 87.88725 82.57237 92.08157 88.0 100.0 32.51403 102.47386 39.57819
60.77457 28.0 71.43206 36.49071
""",
        [
            0.40723,
            0.47327,
            0.42907,
            0.43766,
            0.43235,
            0.44214,
            0.41973,
            0.38063,
            0.42501,
            0.46081,
            0.47506,
            0.43615,
            0.40794,
            0.38222,
        ],
    ),
    (
        78,
        [
            0.83475,
            0.7324,
            0.70678,
            0.68156,
            0.67239,
            0.66456,
            0.66031,
            0.65147,
            0.64818,
            0.64366,
            0.63733,
            0.63476,
            0.62515,
            0.62126,
            0.61461,
            0.60526,
        ],
        [0, 0, 0, 0, 0, 1, 0, 1, 1, 0, 1, 0, 1, 0, 0, 1],
        """
20.0 25.47972 25.48616 36.0 82.18566 47.57698 92.0 55.33212 96.37001 9.9458 100.05855 12.0 69.24352
71.8931 76.0 76.66443 32.92969 43.86058 36.05912 44.0 62.58548 63.49633 68.0 79.1048 88.0 0.0 101.38943
31.64341 94.37781 44.0 102.03307 53.85541 15.52485 20.62008 20.30614 28.66579 127.99066 83.53437
138.68274 88.8988 115.32202 58.7551 120.0 72.0 58.52645 32.05852 60.0 36.4653 40.0 37.92618 46.12133
56.0 15.52485 20.62008 20.30614 28.66579 92.0 60.51787 94.02212 68.0 75.30582 0.0 80.0 31.36427
""",
        [
            0.44468,
            0.39583,
            0.42356,
            0.4626,
            0.45075,
            0.47519,
            0.42439,
            0.43827,
            0.44718,
            0.46932,
            0.42575,
            0.43581,
            0.45667,
            0.44718,
            0.40094,
            0.42147,
        ],
    ),
]


@torch.no_grad()
def test_outputs_equal_adelaidets():
    ours, levels, _ = case()
    found = ours.fcos(levels)._asdict() | {"bases": ours.bases(levels[:3])}
    for name, (step, expected) in OUTPUTS.items():
        torch.testing.assert_close(found[name].flatten()[::step], numbers(expected), rtol=0, atol=1e-4)


def test_objects_of_the_places_equal_adelaidets():
    ours, levels, targets = case()
    objects, _ = ours.fcos.assign(ours.fcos(levels), [t["boxes"] for t in targets])
    rows = ["".join("." if k < 0 else str(k) for k in row) for row in objects.tolist()]
    assert rows == [row.replace(" ", "") for row in OBJECTS]


def test_losses_equal_adelaidets(monkeypatch):
    ours, levels, targets = case()
    monkeypatch.setattr(ours, "levels", lambda images: dict(enumerate(levels)))
    losses = {k: float(v.detach()) for k, v in ours.train().losses(torch.zeros(2, 3, *SIZE), targets).items()}
    assert losses == pytest.approx(LOSSES, abs=1e-4)


@torch.no_grad()
def test_detections_equal_adelaidets(monkeypatch):
    ours, levels, _ = case()
    monkeypatch.setattr(ours, "levels", lambda images: dict(enumerate(levels)))
    for found, (count, scores, labels, boxes, masks) in zip(ours(torch.zeros(2, 3, *COVERED)), DETECTIONS):
        assert len(found["scores"]) == count
        assert found["scores"][::5].tolist() == pytest.approx(scores, abs=1e-4)
        assert (found["labels"][::5] - 1).tolist() == labels
        torch.testing.assert_close(found["boxes"][::5].flatten(), numbers(boxes), rtol=0, atol=1e-3)
        assert found["masks"][::5].mean((1, 2, 3)).tolist() == pytest.approx(masks, abs=1e-4)
