"""Trainings that start from the weights of a trained network."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny_networks import make_spec

from segbench.contract.cell import CellSpec
from segbench.contract.recipe import Recipe
from segbench.contract.view import Category, View
from segbench.data.dataset import Dataset
from segbench.errors import SegbenchError
from segbench.models.saved import build_network, load_model, save_model
from segbench.models.weights.transfer import copy_trained_weights
from segbench.training.runner.provenance import sha256


def fcn(stride: int, **recipe: Any) -> CellSpec:
    """FCN-32s, 16s or 8s on a small backbone."""
    small = {"iterations": 2, "batch_size": 2, "augment": {"crop": [32, 32]}} | recipe
    options = {"backbone": "test_resnet", "stride": stride}
    return CellSpec(
        class_path="segbench.models.fcn:FCN", options=options, task="semantic", seed=0, recipe=Recipe(**small)
    )


def test_a_staged_training_goes_on_from_the_coarser_network(run, tmp_path: Path) -> None:
    """FCN-16s begins as FCN-32s: the skip scores 0, and the new upsampling is bilinear."""
    run("32", fcn(32))
    record = run(
        "16",
        fcn(16, init_from={"model": "fcn32s"}, optimizer={"lr": 1e-12}),
        weights=tmp_path / "32/model.pt",
    )
    coarse, fine = (load_model(tmp_path / n / "model.pt", torch.device("cpu")).network for n in ("32", "16"))
    shared = {k: v for k, v in coarse.state_dict().items() if k.startswith(("backbone.", "scores.32."))}
    own = fine.state_dict()
    for name, value in shared.items():
        if value.is_floating_point() and "running_" not in name:
            torch.testing.assert_close(own[name], value, rtol=0, atol=1e-9)
    assert len(shared) > 10 and coarse.scores["32"].weight.abs().sum() > 0
    assert own["upsample.weight"].shape != coarse.state_dict()["upsample.weight"].shape
    assert record["sources"]["weights"] == sha256(tmp_path / "32/model.pt")


def test_a_network_of_another_kind_is_no_beginning(run, tmp_path: Path) -> None:
    run("other", make_spec())
    with pytest.raises(SegbenchError, match="name a network of the same kind"):
        run("16", fcn(16, init_from={"model": "other"}), weights=tmp_path / "other/model.pt")
    with pytest.raises(SegbenchError, match="requires the weights 'other'"):
        run("16", fcn(16, init_from={"model": "other"}))


UNET = CellSpec(
    class_path="segbench.models.unet:UNet",
    options={"widths": [4, 8]},
    task="semantic",
    seed=0,
    recipe=Recipe(iterations=1, batch_size=1),
)


def saved(folder: Path, shapes: Path, spec: CellSpec = UNET, channels: int = 3) -> Path:
    """The model.pt of an untrained network."""
    info = Dataset(shapes).info.model_copy(
        update={"channels": channels, "mean": [0.5] * channels, "std": [0.5] * channels}
    )
    view = Dataset(shapes).view(spec.task)
    network = build_network(spec, view, channels)
    save_model(folder / "model.pt", spec, view, info, "", network.state_dict())
    return folder / "model.pt"


def started(path: Path, view: View, channels: int = 3, spec: CellSpec = UNET) -> tuple[Any, Any, Any]:
    """State of a network before and after the copy, and of the file."""
    network = build_network(spec, view, channels)
    before = {key: value.clone() for key, value in network.state_dict().items()}
    copy_trained_weights(network, spec, path)
    return before, network.state_dict(), load_model(path, torch.device("cpu")).network.state_dict()


def other_classes(count: int) -> View:
    names = ["background", *(f"class {i}" for i in range(1, count))]
    return View(
        "semantic",
        tuple(Category(id=i, name=n, isthing=False, color=(i, 0, 0)) for i, n in enumerate(names)),
    )


@pytest.mark.parametrize("count", [4, 7])
def test_heads_of_other_classes_begin_anew(
    count: int, shapes: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Also if there are as many classes as before."""
    caplog.set_level(logging.INFO)
    assert len(Dataset(shapes).view("semantic").classes) == 4
    before, after, given = started(saved(tmp_path, shapes), other_classes(count))
    for key, value in after.items():
        assert torch.equal(value, before[key] if key.startswith("head.") else given[key])
    assert not torch.equal(before["head.weight"], given["head.weight"][:count]) or count != 4
    assert f"{len(after) - 2} of {len(after)} tensors copied from {tmp_path}/model.pt (shapes)" in caplog.text
    assert "begun anew, as the classes differ: head.weight, head.bias" in caplog.text


def test_with_the_same_classes_all_weights_are_copied(shapes: Path, tmp_path: Path) -> None:
    _, after, given = started(saved(tmp_path, shapes), Dataset(shapes).view("semantic"))
    assert after.keys() == given.keys() and all(torch.equal(after[key], given[key]) for key in after)


def test_what_is_left_is_named(shapes: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    wider = UNET.model_copy(update={"options": {"widths": [4, 6, 8]}})
    view = Dataset(shapes).view("semantic")
    before, after, _ = started(saved(tmp_path, shapes), view, spec=wider)
    assert torch.equal(after["encoder.stages.1.0.weight"], before["encoder.stages.1.0.weight"])
    shapes_line, lacks_line = (
        next(line for line in caplog.messages if line.startswith(f"begun anew, as {why}"))
        for why in ("their shapes differ", "the file lacks them")
    )
    assert "encoder.stages.1.0.weight" in shapes_line and "encoder.stages.2.0.weight" in lacks_line


def test_rgb_weights_are_adapted_to_other_channels(shapes: Path, tmp_path: Path) -> None:
    _, after, given = started(saved(tmp_path, shapes), other_classes(3), channels=1)
    first = "encoder.stages.0.0.weight"
    torch.testing.assert_close(after[first], given[first].sum(1, keepdim=True))
    with pytest.raises(SegbenchError, match="was trained on images of 1 channels; these have 3"):
        started(saved(tmp_path, shapes, channels=1), other_classes(3))
