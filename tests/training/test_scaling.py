"""Training in fp16: the loss is scaled, gradients are not, and steps whose gradients overflow are skipped."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny_networks import make_spec

from segbench.errors import SegbenchError
from segbench.training.loop import Training

CPU = torch.device("cpu")
SGD = {"name": "sgd", "lr": 0.1, "momentum": 0.0, "weight_decay": 0.0}


def training(shapes: Path, network: str = "Plain", **recipe: Any) -> Training:
    return Training(shapes, make_spec(network, **{"precision": "fp16"} | recipe), None, CPU)


def items(count: int = 1) -> Any:
    torch.manual_seed(count)
    return [
        (torch.rand(4, 3, 8, 8), [{"semantic": torch.randint(4, (8, 8))} for _ in range(4)])
        for _ in range(count)
    ]


def weights(one: Training) -> dict[str, torch.Tensor]:
    return {name: value.clone() for name, value in one.network.state_dict().items()}


@pytest.mark.parametrize("recipe", [{}, {"clip_norm": 0.05}, {"accumulate": 2}], ids=str)
def test_steps_are_those_of_fp32_with_a_shorter_mantissa(shapes: Path, recipe: dict[str, Any]) -> None:
    """Norm, clipping and weights are those of gradients without the scale of 65536."""
    rows, found = {}, {}
    for precision in ("fp32", "fp16"):
        one = training(shapes, precision=precision, optimizer=SGD, **recipe)
        start = weights(one)
        if recipe.get("accumulate"):
            parts = [
                (images[half], targets[half])
                for images, targets in items()
                for half in (slice(2), slice(2, 4))
            ]
        else:
            parts = items()
        rows[precision] = one.step(iter(parts))
        found[precision] = {name: value - start[name] for name, value in weights(one).items()}
    assert rows["fp16"]["grad_norm"] == pytest.approx(rows["fp32"]["grad_norm"], rel=5e-3)
    assert rows["fp16"]["total"] == pytest.approx(rows["fp32"]["total"], rel=1e-3)
    for name, moved in found["fp32"].items():
        assert moved.abs().max() > 0
        torch.testing.assert_close(found["fp16"][name], moved, rtol=2e-2, atol=1e-5)


def test_small_gradients_do_not_vanish(shapes: Path) -> None:
    """Without the scale, gradients of 1e-8 of the activations are 0 in fp16."""
    one = training(shapes, optimizer=SGD)
    one.network.loss_weights = {"cross_entropy": 1e-6}
    assert one.step(iter(items()))["grad_norm"] > 1e-9
    assert all(p.grad is not None and p.grad.abs().max() > 0 for p in one.network.parameters())


def test_a_step_whose_gradients_overflow_is_skipped(shapes: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    one = training(shapes, "Overflowing", options={"steps": [2, 3]}, ema=0.5)
    batches = iter(items(4))
    one.step(batches)
    before, average = weights(one), {n: v.clone() for n, v in one.weights.items()}
    for scale in (2**15, 2**14):
        row = one.step(batches)
        assert not torch.isfinite(torch.tensor(row["grad_norm"])) and row["total"] < 10
        assert one.scaler.get_scale() == scale
        assert all(torch.equal(value, before[name]) for name, value in weights(one).items())
        assert all(torch.equal(value, average[name]) for name, value in one.weights.items())
    assert one.iteration == 3
    assert "iteration 2 of 8: gradients overflow fp16 at the scale 65536; skipped" in caplog.text
    assert one.step(batches)["grad_norm"] < 100
    assert not torch.equal(weights(one)["head.bias"], before["head.bias"])


def test_gradients_that_overflow_without_a_scale_are_an_error(shapes: Path) -> None:
    """The scale falls from 65536 to 1 in 16 steps; the next one is an error."""
    one = training(shapes, "Overflowing", options={"steps": list(range(1, 30))}, iterations=30)
    batches = iter(items(30))
    with pytest.raises(SegbenchError, match=r"gradient norm is (inf|nan) at iteration 17 of 30") as caught:
        while True:
            one.step(batches)
    assert "precision: fp32" in str(caught.value.remedy)


def test_a_loss_that_is_not_a_number_is_an_error(run) -> None:
    with pytest.raises(SegbenchError, match="loss_broken is nan.* at iteration 3 of 8"):
        run("a", make_spec("Diverging", precision="fp16"))


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_other_formats_do_not_scale(shapes: Path, precision: str) -> None:
    one = training(shapes, "Overflowing", options={"steps": [1]}, precision=precision)
    assert not one.scaler.is_enabled() and one.state()["scaler"] == {}
    with pytest.raises(SegbenchError, match="gradient norm is"):
        one.step(iter(items()))


def test_a_continued_training_has_its_scale(shapes: Path) -> None:
    spec = {"network": "Overflowing", "options": {"steps": [2]}}
    whole, half, rest = (training(shapes, **spec) for _ in range(3))
    batches = items(4)
    for one, its in ((whole, batches), (half, batches[:3])):
        stream = iter(its)
        for _ in its:
            one.step(stream)
    rest.load_state(half.state())
    assert rest.scaler.get_scale() == 2**15
    rest.step(iter(batches[3:]))
    assert rest.scaler.state_dict() == whole.scaler.state_dict()
    assert all(torch.equal(value, weights(rest)[name]) for name, value in weights(whole).items())


def test_two_processes_in_fp16_skip_together(run, tmp_path: Path) -> None:
    spec = {"precision": "fp16", "optimizer": {"name": "sgd", "lr": 0.05}, "options": {"steps": [2]}}
    one, two = (run(f"{n}", make_spec("Overflowing", gpus=n, **spec)) for n in (1, 2))
    assert one["precision"] == two["precision"] == "fp16"
    states = [torch.load(tmp_path / f"{n}" / "model.pt", weights_only=True) for n in (1, 2)]
    first, second = (state["weights"] for state in states)
    for name in first:
        torch.testing.assert_close(first[name], second[name], rtol=0.05, atol=2e-3)
