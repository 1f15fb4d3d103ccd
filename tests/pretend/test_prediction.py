"""Prediction on the pretend accelerator: windows, scales and flips, tiles, a split, and `segment`."""

from __future__ import annotations

import json
from collections import Counter
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from network_tester import make_view
from PIL import Image
from pretend_accelerator import counted
from tiny_networks import Everything, Plain, make_spec

from segbench.contract.recipe import Inference
from segbench.models.saved import Model, load_model
from segbench.prediction.host import on_host
from segbench.prediction.inference import Predictor
from segbench.prediction.predict import as_arrays
from segbench.prediction.runner import media
from segbench.prediction.runner import predict as runner
from segbench.training.precision import Precision

VIEW, PANOPTIC = make_view("semantic"), make_view("panoptic")
CPU = torch.device("cpu")
WAYS: dict[str, dict[str, Any]] = {
    "whole": {},
    "resized": {"short_side": 30},
    "window": {"window": [24, 32], "overlap": 0.5},
    "gaussian": {"window": [24, 32], "overlap": 0.5, "blend": "gaussian"},
    "scales and flips": {"scales": [0.5, 1.0, 1.5], "flip": True},
    "all": {"scales": [0.5, 1.0], "flip": True, "window": [24, 32]},
}


def predictor(device: torch.device, how: dict[str, Any], network: Any = Plain, view: Any = VIEW) -> Predictor:
    torch.manual_seed(0)
    model = Model(network(view, 3).eval(), None, "", "toy", [0.5] * 3, [0.25] * 3, levels=None)
    return Predictor(model, Inference(**how), Precision(device, "fp32"))


@pytest.fixture
def images() -> torch.Tensor:
    return torch.rand(2, 3, 60, 80, generator=torch.manual_seed(1))


@pytest.mark.parametrize("name", WAYS)
def test_semantic_maps_are_those_of_the_cpu(device, images, name):
    own, host = (predictor(where, WAYS[name]) for where in (device, CPU))
    with counted() as waits:
        found = own(images)
    assert not waits, Counter(map(str, waits))
    for a, b in zip(found, host(images), strict=True):
        assert a.semantic.device == device
        assert torch.equal(a.semantic.cpu(), b.semantic)


@pytest.mark.parametrize("how", [{}, {"window": [24, 32], "overlap": 0.5}])
def test_segments_and_objects_are_those_of_the_cpu(device, images, how):
    own, host = (predictor(where, how, Everything, PANOPTIC)(images) for where in (device, CPU))
    for a, b in zip(own, host, strict=True):
        found, expected = as_arrays(a), as_arrays(b)
        assert (found.semantic == expected.semantic).all()
        assert (found.panoptic.segments == expected.panoptic.segments).all()
        assert (found.instances.labels == expected.instances.labels).all()


def test_a_prediction_is_copied_with_one_wait(device, images):
    found = predictor(device, {}, Everything, PANOPTIC)(images[:1])[0]
    with counted() as waits:
        copied = on_host(found)
    assert [wait.why for wait in waits] == ["synchronize"]
    assert copied.semantic.device == copied.instances.masks.device == copied.panoptic.scores.device == CPU


def test_predict_and_segment_from_files(device, run, shapes: Path, tmp_path: Path, monkeypatch):
    run("cell", make_spec(task="semantic", precision="fp32", iterations=2))
    model = tmp_path / "cell" / "model.pt"

    @contextmanager
    def leased(name: str, count: int = 1) -> Any:
        yield [device if name == "cuda" else CPU]

    monkeypatch.setattr(runner, "leased", leased)
    monkeypatch.setattr(runner, "remove_checkpoint", lambda *_: None)
    monkeypatch.setattr(media, "pick_device", lambda name: device if name == "cuda" else CPU)
    photo = tmp_path / "photo.png"
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (40, 56, 3)).astype(np.uint8)).save(photo)
    digests, painted = [], []
    for name in ("cuda", "cpu"):
        out = tmp_path / name
        runner.predict(shapes, model, out / "predictions", device=name)
        digests.append(json.loads((out / "predictions" / "predictions.json").read_text())["digest"])
        media.predict_files(model, [photo], out, device=name)
        painted.append((out / "photo.png").read_bytes())
    assert digests[0] == digests[1] and painted[0] == painted[1]
    assert load_model(model, device).network.head.weight.device == device
