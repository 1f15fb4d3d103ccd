"""Compiled trainings. A backend that runs the graphs as they are stands for torch's compilers."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from network_tester import make_view
from tiny_networks import Everything, make_spec
from torch import nn

from segbench.errors import SegbenchError
from segbench.models.mask2former import Mask2Former
from segbench.models.saved import load_model
from segbench.models.unet import UNet
from segbench.probe.runner.steps import run_steps
from segbench.training.loop import Training

CPU = torch.device("cpu")


@pytest.fixture
def graphs(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """A list that gets the mode of each call of a compiled graph."""
    called: list[str] = []
    known = nn.Module.compile

    def compile_with(module: nn.Module, mode: str) -> None:
        def backend(graph: torch.fx.GraphModule, _: Any) -> Callable[..., Any]:
            def run(*args: Any) -> Any:
                called.append(mode)
                return graph.forward(*args)

            return run

        known(module, backend=backend)

    monkeypatch.setattr(nn.Module, "compile", compile_with)
    torch.compiler.reset()
    return called


def test_a_compiled_training_has_the_same_weights_and_files(run, tmp_path: Path, graphs: list[str]) -> None:
    recipe = {"precision": "fp32", "validate_every": 4, "ema": 0.9, "iterations": 4}
    plain = run("plain", make_spec("Normalised", **recipe))
    assert not graphs
    compiled = run("compiled", make_spec("Normalised", **recipe, compile="reduce-overhead"))
    # backbone and head of each step; neither the validation nor a step of another shape
    assert set(graphs) == {"reduce-overhead"} and len(graphs) >= 2 * 4
    assert compiled["weights_digest"] == plain["weights_digest"]
    checkpoint = torch.load(tmp_path / "compiled" / "checkpoint.pt", weights_only=True)
    names = set(load_model(tmp_path / "plain" / "model.pt", CPU).network.state_dict())
    assert set(checkpoint["weights"]) == names
    assert {f"module.{name}" for name in names} < set(checkpoint["average"])
    before = len(graphs)
    model = load_model(tmp_path / "compiled" / "model.pt", CPU)
    assert len(model.network.predict(torch.rand(1, 3, 20, 30), [(20, 30)])) == 1
    assert len(graphs) == before


def test_a_compiled_training_continues(shapes: Path, graphs: list[str]) -> None:
    spec = make_spec("Normalised", precision="fp32", compile="default")
    whole, half, rest = (Training(shapes, spec, None, CPU) for _ in range(3))
    for training, start, end in ((whole, 0, 3), (half, 0, 2), (rest, 2, 3)):
        if start:
            training.load_state(half.state())
        training.train_mode()
        batches = training.batches(0)
        for _ in range(start, end):
            training.step(batches)
        count = len(graphs)
        training._copied_model().network(torch.rand(1, 3, 8, 8))
        assert len(graphs) == count > 0
    for name, value in whole.network.state_dict().items():
        assert torch.equal(value, rest.network.state_dict()[name]), name


def test_parts_of_networks() -> None:
    network = UNet(make_view("semantic"), 3, widths=[2, 2, 2, 2, 2], backbone=None)
    parts = network.dense_parts()
    assert not any(isinstance(part, nn.ModuleList | nn.ModuleDict) for part in parts)
    inside = {id(module) for part in parts for module in part.modules()}
    outside = [m for m in network.modules() if id(m) not in inside]
    assert {type(m) for m in outside} <= {UNet, nn.ModuleList, nn.ModuleDict}
    whole = Mask2Former(
        make_view("panoptic"),
        3,
        backbone="test_resnet",
        hidden_dim=32,
        queries=2,
        encoder_layers=1,
        encoder_feedforward=16,
        decoder_layers=1,
        decoder_feedforward=16,
    )
    assert whole.dense_parts() == [whole.backbone]
    assert Everything(make_view("panoptic"), 3).dense_parts() == []


def test_a_network_without_a_dense_part_is_an_error(shapes: Path) -> None:
    with pytest.raises(SegbenchError, match="Everything has no part that torch.compile can compile"):
        Training(shapes, make_spec("Everything", task="panoptic", compile="default"), None, CPU)


def test_operations_of_a_compiled_step_are_counted(shapes: Path, graphs: list[str]) -> None:
    plain, _ = run_steps(shapes, make_spec(iterations=9), CPU, 1)
    assert not graphs
    compiled, _ = run_steps(shapes, make_spec(iterations=9, compile="default"), CPU, 1)
    assert graphs and compiled.flops == plain.flops > 0


def test_an_error_of_the_compiler_names_the_remedy(shapes: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(graph: Any, inputs: Any) -> Any:
        raise RuntimeError("no compiler is found")

    known = nn.Module.compile
    monkeypatch.setattr(nn.Module, "compile", lambda module, mode: known(module, backend=broken))
    torch.compiler.reset()
    training = Training(shapes, make_spec("Normalised", precision="fp32", compile="default"), None, CPU)
    with pytest.raises(SegbenchError, match=r"torch.compile fails \(.*no compiler is found") as caught:
        training.step(training.batches(0))
    assert "remove `compile`" in str(caught.value.remedy)
