from __future__ import annotations

import math

import pytest
import torch
from torch import nn
from torch.optim import lr_scheduler

from segbench.contract.recipe import Optimizer, Schedule
from segbench.contract.view import View
from segbench.errors import SegbenchError
from segbench.models.layers.backbones import Backbone
from segbench.models.network import Network
from segbench.training.optimizer import build_optimizer, parameter_groups, rate_factor, set_rate

TOTAL = 40


def torchs(make) -> list[float]:
    """Return the learning rates of one of torch's schedulers, starting at 1."""
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=1.0)
    scheduler = make(optimizer)
    rates = []
    for _ in range(TOTAL):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    return rates


@pytest.mark.parametrize(
    ("schedule", "make"),
    [
        (Schedule(power=0.9), lambda o: lr_scheduler.PolynomialLR(o, TOTAL, 0.9)),
        (Schedule(name="cosine"), lambda o: lr_scheduler.CosineAnnealingLR(o, TOTAL)),
        (
            Schedule(name="step", milestones=[0.5, 0.7], gamma=0.3),
            lambda o: lr_scheduler.MultiStepLR(o, [20, 28], 0.3),
        ),
        (Schedule(name="constant"), lambda o: lr_scheduler.ConstantLR(o, 1.0)),
        (
            Schedule(name="constant", warmup_iterations=10, warmup_factor=0.2),
            lambda o: lr_scheduler.LinearLR(o, 0.2, 1.0, 10),
        ),
    ],
)
def test_schedules_are_torchs(schedule: Schedule, make) -> None:
    ours = [rate_factor(schedule, i, TOTAL) for i in range(TOTAL)]
    assert ours == pytest.approx(torchs(make), abs=1e-9)


def test_warm_up_multiplies_the_schedule() -> None:
    schedule = Schedule(name="cosine", warmup_iterations=8, warmup_factor=0.1)
    assert rate_factor(schedule, 0, TOTAL) == pytest.approx(0.1)
    assert rate_factor(schedule, 4, TOTAL) == pytest.approx(0.55 * (1 + math.cos(math.pi * 0.1)) / 2)
    assert rate_factor(schedule, 8, TOTAL) == rate_factor(Schedule(name="cosine"), 8, TOTAL)


class Net(Network):
    def __init__(self) -> None:
        super().__init__(View("semantic", ()), 3)
        self.backbone = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4))
        self.head = nn.Sequential(nn.GroupNorm(2, 4), nn.Conv2d(4, 2, 1))


def test_groups() -> None:
    net = Net()
    groups = parameter_groups(net, Optimizer(lr=0.1, weight_decay=0.2, backbone_lr_factor=0.5))
    found = {id(p): (g["lr"], g["weight_decay"]) for g in groups for p in g["params"]}
    assert len(found) == len(list(net.parameters())) == sum(len(g["params"]) for g in groups)
    assert found[id(net.backbone[0].weight)] == (0.05, 0.2)
    assert found[id(net.backbone[0].bias)] == found[id(net.backbone[1].weight)] == (0.05, 0)
    assert found[id(net.head[1].weight)] == (0.1, 0.2)
    assert found[id(net.head[0].weight)] == found[id(net.head[1].bias)] == (0.1, 0)


def test_decay_on_everything_on_request() -> None:
    groups = parameter_groups(Net(), Optimizer(weight_decay=0.2, no_decay_on_norm=False))
    assert {g["weight_decay"] for g in groups} == {0.2}


def test_a_network_names_what_it_spares() -> None:
    class Own(Net):
        def no_weight_decay(self) -> set[str]:
            return {"head.1.weight"}

    net = Own()
    groups = parameter_groups(net, Optimizer(weight_decay=0.2))
    (spared,) = (p for g in groups if g["weight_decay"] == 0 for p in g["params"])
    assert spared is net.head[1].weight
    assert {g["weight_decay"] for g in parameter_groups(net, Optimizer(no_decay_on_norm=False))} == {1e-4}


def test_a_spared_name_that_the_network_lacks_is_a_mistake() -> None:
    class Wrong(Net):
        def no_weight_decay(self) -> set[str]:
            return {"head.1.weights", "head.1.bias"}

    with pytest.raises(SegbenchError, match=r"no_weight_decay\(\) names head.1.weights, which") as caught:
        parameter_groups(Wrong(), Optimizer())
    assert caught.value.where == "Wrong" and "named_parameters" in caught.value.remedy
    parameter_groups(Wrong(), Optimizer(no_decay_on_norm=False))


class Swin(Network):
    def __init__(self) -> None:
        super().__init__(View("semantic", ()), 3)
        self.backbone = Backbone("swin_tiny_patch4_window7_224", out_indices=(0, 1, 2, 3))
        self.head = nn.Conv2d(4, 2, 1)


def test_the_rate_falls_from_layer_to_layer_of_a_swin() -> None:
    """2 + 2 + 6 + 2 blocks and the stem: 13 layers."""
    with torch.device("meta"):
        net = Swin()
    options = Optimizer(lr=1.0, layer_decay=0.9, backbone_lr_factor=0.5, no_decay_on_norm=False)
    rates = {id(p): g["lr"] for g in parameter_groups(net, options) for p in g["params"]}
    found = {name: rates[id(parameter)] for name, parameter in net.named_parameters()}
    assert len(rates) == len(found)
    model = "backbone.net.model."
    expected = {
        "head.weight": 1.0,
        f"{model}layers.3.blocks.1.mlp.fc1.weight": 0.5 * 0.9,
        f"{model}layers.3.blocks.0.mlp.fc1.weight": 0.5 * 0.9**2,
        f"{model}layers.3.downsample.reduction.weight": 0.5 * 0.9**2,
        f"{model}layers.2.blocks.5.attn.qkv.bias": 0.5 * 0.9**3,
        f"{model}layers.0.blocks.0.attn.relative_position_bias_table": 0.5 * 0.9**12,
        f"{model}patch_embed.proj.weight": 0.5 * 0.9**13,
    }
    names = {name for name in found if name.startswith("backbone.norms")}
    assert names and {found[name] for name in names} == {0.5}
    assert {name: found[name] for name in expected} == pytest.approx(expected)


def test_layer_decay_needs_a_backbone_with_layers() -> None:
    with pytest.raises(SegbenchError, match="optimizer.layer_decay: Net has no backbone whose layers"):
        parameter_groups(Net(), Optimizer(layer_decay=0.9))


def test_a_factor_of_zero_freezes_the_backbone() -> None:
    net = Net()
    groups = parameter_groups(net, Optimizer(backbone_lr_factor=0))
    assert not any(p.requires_grad for p in net.backbone.parameters())
    assert sum(len(g["params"]) for g in groups) == 4


@pytest.mark.parametrize("name", ["adamw", "sgd"])
def test_rate_is_set_on_every_group(name: str) -> None:
    options = Optimizer(name=name, lr=0.1, momentum=0.7, backbone_lr_factor=0.5)
    optimizer = build_optimizer(Net(), options)
    assert type(optimizer).__name__.lower() == name
    if name == "sgd":
        assert {g["momentum"] for g in optimizer.param_groups} == {0.7}
    set_rate(optimizer, 0.5)
    set_rate(optimizer, 0.25)
    assert {g["lr"] for g in optimizer.param_groups} == {0.025, 0.0125}
