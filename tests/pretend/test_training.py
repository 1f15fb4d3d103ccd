"""The training loop on the pretend accelerator: from the batch to the optimizer, validation, checkpoints."""

from __future__ import annotations

from collections import Counter
from contextlib import contextmanager
from itertools import chain
from pathlib import Path
from typing import Any

import pytest
import torch
from pretend_accelerator import OnDevice, counted
from tiny_networks import make_spec
from torch import Tensor

from segbench.models.saved import load_model
from segbench.training.loop import Training
from segbench.training.runner import train as runner
from segbench.training.runner.ahead import copied_ahead
from segbench.training.runner.checkpoint import load_checkpoint, save_checkpoint

CPU = torch.device("cpu")
RECIPES: dict[str, dict[str, Any]] = {
    "sgd, accumulated": {"optimizer": {"name": "sgd", "lr": 0.05}, "accumulate": 2},
    "adamw, clipped, averaged": {"optimizer": {"name": "adamw", "lr": 0.01}, "clip_norm": 0.1, "ema": 0.9},
    "classes weighted": {"class_weights": "median_frequency", "validate_every": 2, "select": "best"},
}


def trained(shapes: Path, device: torch.device, steps: int, state: Any = None, **options: Any) -> Training:
    training = Training(shapes, make_spec("Normalised", precision="fp32", **options), None, device)
    if state:
        training.load_state(state)
    batches = training.batches(0)
    training.train_mode()
    for _ in range(steps):
        training.step(batches)
        if training.validation_due():
            training.validate(lambda: False)
    return training


def close(a: dict[str, Tensor], b: dict[str, Tensor]) -> bool:
    return a.keys() == b.keys() and all(torch.allclose(a[n].cpu(), b[n].cpu(), atol=1e-5) for n in a)


@pytest.mark.parametrize("name", RECIPES)
def test_weights_are_those_of_the_cpu(shapes, device, name):
    own, host = (trained(shapes, where, 4, **RECIPES[name]) for where in (device, CPU))
    assert all(isinstance(value, OnDevice) for value in own.network.state_dict().values())
    assert close(own.network.state_dict(), host.network.state_dict())
    assert close(own.weights, host.weights)
    assert own.progress.lowest == pytest.approx(host.progress.lowest, rel=1e-5)


@pytest.mark.parametrize(
    "name, in_step", [("sgd, accumulated", 1), ("classes weighted", 1), ("adamw, clipped, averaged", 2)]
)
def test_waits_of_a_step_and_of_a_validation(shapes, device, name, in_step):
    """A step reads its losses and the norm of the gradient in one transfer.

    torch's average of the weights copies their number of updates to the device.
    """
    training = trained(shapes, device, 1, **{**RECIPES[name], "validate_every": 100})
    batches = training.batches(0)
    training.train_mode()
    with counted() as waits:
        training.step(batches)
    assert len(waits) == in_step, Counter(map(str, waits))
    with counted() as waits:
        training.validate(lambda: False)
    kept = ["synchronize"] if training.recipe.select == "best" else []
    assert [wait.why for wait in waits] == ["item", *kept], Counter(map(str, waits))


@pytest.mark.parametrize("colours", [{"color_jitter": 0.4}, {"blur": {"sigma": [1, 2], "probability": 1}}])
def test_colours_are_changed_on_the_device_without_a_wait(shapes, device, colours):
    augment = {"scale": [0.5, 1.5], "crop": [48, 48], **colours}
    options = {"optimizer": {"name": "sgd", "lr": 0.05}, "accumulate": 2}
    expected = trained(shapes, CPU, 3, augment=augment, **options)
    own = trained(shapes, device, 2, augment={**augment, "on_device": True}, **options)
    batches = own.batches(0)
    with counted() as waits:
        own.step(batches)
    assert len(waits) == 1, Counter(map(str, waits))
    assert close(own.network.state_dict(), expected.network.state_dict())


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_autocast(shapes, device, precision):
    training = Training(shapes, make_spec("Normalised", precision=precision), None, device)
    batches = training.batches(0)
    training.train_mode()
    training.step(batches)  # makes the scale on the device
    with counted() as waits:
        row = training.step(batches)
    assert len(waits) == 1, Counter(map(str, waits))
    assert training.network.backbone[0].weight.is_contiguous(memory_format=torch.channels_last)
    assert 0 < row["total"] < 5 and row["grad_norm"] > 0


@pytest.mark.parametrize("there, back", [(True, False), (False, True), (True, True)])
def test_a_checkpoint_goes_on_on_either_device(shapes, device, tmp_path, there, back):
    first, second = ((device if own else CPU) for own in (there, back))
    options = {"ema": 0.9, "validate_every": 2, "select": "best"}
    whole = trained(shapes, second, 6, **options)
    path = tmp_path / "checkpoint.pt"
    half = trained(shapes, first, 3, **options)
    assert save_checkpoint(path, {"identity": "x", "precision": "fp32"} | half.state())
    state = load_checkpoint(path, "x", "fp32")
    assert state and all(type(value) is Tensor for value in state["weights"].values())
    again = trained(shapes, second, 3, state, **options)
    assert again.iteration == 6
    assert close(again.network.state_dict(), whole.network.state_dict())
    assert close(again.weights, whole.weights)


def test_batches_that_are_copied_ahead_train_the_same(shapes, device):
    expected = trained(shapes, device, 4, **RECIPES["sgd, accumulated"])
    training = Training(
        shapes, make_spec("Normalised", precision="fp32", **RECIPES["sgd, accumulated"]), None, device
    )
    training.train_mode()
    with copied_ahead(training.batches(0), device, workers=1) as batches:
        first = [next(batches) for _ in range(2)]
        assert all(
            isinstance(images, OnDevice) and isinstance(target["semantic"], OnDevice)
            for images, targets in first
            for target in targets
        )
        stream = chain(first, batches)
        training.step(stream)
        with counted() as waits:
            for _ in range(3):
                training.step(stream)
    assert [wait.why for wait in waits] == ["copy to the host"] * 3
    assert close(training.network.state_dict(), expected.network.state_dict())


def test_the_train_step_from_files_to_a_model(shapes, device, tmp_path, monkeypatch):
    @contextmanager
    def leased(name: str, count: int = 1) -> Any:
        yield [device if name == "cuda" else CPU]

    monkeypatch.setattr(runner, "leased", leased)
    spec = make_spec("Normalised", precision="fp32", validate_every=4)
    for name in ("cuda", "cpu"):
        runner.train(shapes, spec, tmp_path / name, device=name)
    own, host = (load_model(tmp_path / name / "model.pt", CPU) for name in ("cuda", "cpu"))
    assert close(own.network.state_dict(), host.network.state_dict())
