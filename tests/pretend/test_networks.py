"""Every network and task on the pretend accelerator: the numbers of the CPU, within a budget of waits.

The networks are those of the testers in `tests/models`, so a new network joins by its own test.
"""

from __future__ import annotations

import functools
import importlib
import inspect
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pretend_accelerator
import pytest
import torch
from network_tester import NetworkTester, batch
from torch import Tensor

from segbench.contract.prediction import Instances, Prediction
from segbench.copying import upload
from segbench.models import htc
from segbench.models.network import Network
from segbench.models.panoptic_deeplab.network import PanopticDeepLab
from segbench.models.solo import SOLO
from segbench.prediction.host import on_host

IMAGES, SIZES = 2, [(50, 60), (90, 70)]
OBJECTS = {
    "BlendMask": {"score_threshold": 0.0},
    "RetinaNet": {"score_threshold": 0.0},
    "FCOS": {"score_threshold": 0.0},
    "SOLO": {"score_threshold": 0.002, "keep_threshold": 0.0},
    "SOLOv2": {"score_threshold": 0.005, "keep_threshold": 0.0},
    "PanopticDeepLab": {"centre_threshold": -1.0, "top_k": 5},
    "MaskFormer": {"object_threshold": 0.0, "overlap_threshold": 0.0},
    "Mask2Former": {"object_threshold": 0.0, "overlap_threshold": 0.0},
    "TransformersUniversal": {"object_threshold": 0.0, "overlap_threshold": 0.0},
}
"""Options with which an untrained network finds objects, so that all of its code runs."""


@dataclass(frozen=True)
class Budget:
    """Waits of the host for the device, with a batch of two images; see docs/gpu.md for what they are."""

    training: int
    """In the losses and their gradients."""
    prediction: int
    """In the prediction of both images, without their copy to the host."""


BUDGETS = {
    ("FasterRCNN", "detection"): Budget(6, 7),
    ("MaskRCNN", "instance"): Budget(7, 8),
    ("MaskRCNNV2", "instance"): Budget(7, 8),
    ("HTC", "instance"): Budget(20, 10),
    ("HTC", "panoptic"): Budget(20, 14),
    ("BlendMask", "instance"): Budget(1, 4),
    ("SOLO", "instance"): Budget(2, 9),
    ("SOLOv2", "instance"): Budget(2, 7),
    ("PanopticDeepLab", "panoptic"): Budget(3, 8),
    ("MaskFormer", "semantic"): Budget(2, 0),
    ("MaskFormer", "instance"): Budget(1, 4),
    ("MaskFormer", "panoptic"): Budget(1, 8),
    ("Mask2Former", "semantic"): Budget(2, 0),
    ("Mask2Former", "instance"): Budget(1, 4),
    ("Mask2Former", "panoptic"): Budget(1, 8),
    # torchvision selects anchors and boxes image by image and level by level
    ("RetinaNet", "detection"): Budget(18, 44),
    ("FCOS", "detection"): Budget(22, 24),
    # transformers matches the segments of each image on the host
    ("EoMT", "panoptic"): Budget(41, 12),
    ("OneFormer", "panoptic"): Budget(32, 12),
    ("RFDETR", "instance"): Budget(99, 3),
}
"""Every other network never waits."""
ROUNDED = {"MaskRCNNV2": 0.05}
"""Largest difference of gradients, as a share of the largest one: norms of few regions amplify rounding."""
MIXED = ("EoMT",)
"""Networks that multiply values of two formats; autocast converts them on real devices only."""


def testers() -> list[type[NetworkTester]]:
    found = {}
    for path in sorted((Path(__file__).parents[1] / "models").glob("test_*.py")):
        if "NetworkTester" in path.read_text():
            for kind in vars(importlib.import_module(path.stem)).values():
                if inspect.isclass(kind) and issubclass(kind, NetworkTester) and hasattr(kind, "network"):
                    found[kind.__name__] = kind
    return list(found.values())


CASES = [
    pytest.param(
        tester,
        task,
        id=f"{tester.__name__.removeprefix('Test')}-{task}",
        marks=getattr(tester, "pytestmark", []),
    )
    for tester in testers()
    for task in tester.tasks or tester.network.tasks
]
pytestmark = pytest.mark.xdist_group("pretend networks")  # its tests share outcomes
on_all = pytest.mark.parametrize("tester, task", CASES)


@dataclass
class Outcome:
    losses: dict[str, Tensor]
    gradients: dict[str, Tensor]
    predictions: list[Prediction]
    training: list[pretend_accelerator.Wait]
    prediction: list[pretend_accelerator.Wait]


def make(tester: type[NetworkTester], task: str) -> Network:
    network = tester.make(task, **OBJECTS.get(tester.network.__name__, {}))
    for layer in network.mask if isinstance(network, SOLO) else ():
        torch.nn.init.zeros_(layer.bias)  # its masks start empty
    if isinstance(network, PanopticDeepLab):  # rounding would decide where all scores and offsets are about 0
        for head in (network.centre_head, network.offset_head):
            torch.nn.init.normal_(head.predict.weight)
    return network


@functools.cache
def outcome(tester: type[NetworkTester], task: str, device: torch.device) -> Outcome:
    """Losses, gradients and predictions of a network on a device; the results are on the host."""
    network = make(tester, task).to(device).train()
    images, targets = on(device, *batch(task, IMAGES, tester.size))
    for _ in range(2):  # the first step also copies constants that are kept, such as anchors
        torch.manual_seed(0)
        network.zero_grad()
        with pretend_accelerator.counted() as training:
            losses = network.losses(images, targets)
            sum(losses.values()).backward()
    network.eval()
    with pretend_accelerator.counted() as prediction, torch.no_grad():
        predictions = network.predict(images, SIZES)
    gradients = {n: p.grad.cpu() for n, p in network.named_parameters() if p.grad is not None}
    return Outcome(
        {name: loss.detach().cpu() for name, loss in losses.items()},
        gradients,
        [on_host(one) for one in predictions],
        training,
        prediction,
    )


def on(device: torch.device, images: Tensor, targets: list[dict[str, Any]]) -> tuple[Tensor, list[dict]]:
    def move(value: Any) -> Any:
        return upload(value, device) if isinstance(value, Tensor) else value

    return move(images), [{key: move(value) for key, value in target.items()} for target in targets]


@pytest.fixture(autouse=True)
def some_objects_are_certain(monkeypatch):
    monkeypatch.setattr(htc, "CERTAIN", 0.1)


@on_all
def test_numbers_are_those_of_the_cpu(device, tester, task):
    own, host = outcome(tester, task, device), outcome(tester, task, torch.device("cpu"))
    torch.testing.assert_close(own.losses, host.losses, rtol=1e-5, atol=1e-6)
    assert own.gradients.keys() == host.gradients.keys()
    share = ROUNDED.get(tester.network.__name__, 1e-4)
    for name, gradient in host.gradients.items():
        largest = float(gradient.abs().max())
        torch.testing.assert_close(
            own.gradients[name], gradient, rtol=0, atol=share * largest + 1e-7, msg=name
        )
    for a, b in zip(own.predictions, host.predictions, strict=True):
        assert (a.semantic is None) == (b.semantic is None)
        if a.semantic is not None:
            assert same(a.semantic, b.semantic)
        if b.instances is not None:
            assert a.instances is not None and len(b.instances.scores)
            torch.testing.assert_close(a.instances.scores, b.instances.scores, rtol=1e-4, atol=1e-6)
            assert found_again(a.instances, b.instances) > 0.97
        if b.panoptic is not None:
            assert a.panoptic is not None and len(b.panoptic.labels)
            assert torch.equal(a.panoptic.labels, b.panoptic.labels)
            assert same(a.panoptic.segments, b.panoptic.segments)
            torch.testing.assert_close(a.panoptic.scores, b.panoptic.scores, rtol=1e-4, atol=1e-6)


def found_again(a: Instances, b: Instances) -> float:
    """Share of the objects of `b` that are in `a`, where objects of tied scores may have another order."""
    alike = (a.labels == b.labels[:, None]) & ((a.scores - b.scores[:, None]).abs() < 1e-4)
    if b.boxes is not None:
        alike &= ((a.boxes - b.boxes[:, None]).abs() < 1e-2).all(2)
    if b.masks is not None:
        alike &= (a.masks == b.masks[:, None]).float().mean((2, 3)) > 0.999
    return float(alike.any(1).float().mean())


def same(a: Tensor, b: Tensor) -> bool:
    """Whether maps agree, except for pixels on an edge, where a rounding decides."""
    return a.shape == b.shape and bool((a == b).float().mean() > 0.999)


@on_all
def test_the_host_waits_as_often_as_the_budget_says(device, tester, task):
    names = tester.__name__.removeprefix("Test"), tester.network.__name__
    budget = next((BUDGETS[name, task] for name in names if (name, task) in BUDGETS), Budget(0, 0))
    found = outcome(tester, task, device)
    for name, waits in {"training": found.training, "prediction": found.prediction}.items():
        assert len(waits) == getattr(budget, name), (name, Counter(map(str, waits)))


@on_all
def test_autocast_gives_losses_and_predictions(device, tester, task):
    network = make(tester, task).to(device).train()
    images, targets = on(device, *batch(task, IMAGES, tester.size))
    torch.manual_seed(0)
    with torch.autocast(device.type, torch.bfloat16):
        losses = network.losses(images, targets)
    sum(losses.values()).backward()
    assert all(loss.device == device for loss in losses.values())
    whole = sum(outcome(tester, task, device).losses.values())
    assert abs(sum(float(loss.detach()) for loss in losses.values()) - whole) < 0.1 * whole
    network.eval()
    if tester.__name__.removeprefix("Test") in MIXED:
        return
    with torch.autocast(device.type, torch.bfloat16), torch.inference_mode():
        network.predict(images, SIZES)
