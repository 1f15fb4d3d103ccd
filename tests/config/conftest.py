from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from small_registry import MODULE, dataset, forget_sources, model

WEIGHTS = {
    "backbone": {"timm": "resnet18"},
    "whole": {"checkpoint": {"class": "m:C"}},
    "other": {"checkpoint": {"class": "m:D"}},
    "research": {"checkpoint": {"class": "m:C"}, "non_commercial": True},
}


@pytest.fixture
def registry(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "m.py").write_text(MODULE)
    monkeypatch.syspath_prepend(str(tmp_path))
    forget_sources()
    entries = {
        "datasets/vessels": dataset(["semantic"]),
        "datasets/cells": dataset(["semantic", "instance"], recipe={"augment": {"crop": [64, 64]}}),
        "datasets/street": dataset(["semantic", "instance", "panoptic"], options={"size": [8, 8], "seed": 0}),
        "models/unet": model(["semantic"]),
        "models/mask_rcnn": model(["instance"]),
        "models/mask2former": model(["semantic", "instance", "panoptic"]),
        "models/control_truth": model(["semantic", "instance", "panoptic"], trained=False, recipes={}),
    }
    for name, entry in entries.items():
        path = tmp_path / f"{name}.yaml"
        path.parent.mkdir(exist_ok=True)
        path.write_text(yaml.safe_dump(entry))
    (tmp_path / "weights").mkdir()
    return tmp_path


@pytest.fixture
def weights(registry: Path) -> Path:
    for name, entry in WEIGHTS.items():
        about = {"url": "https://example.org/w", "licence": "CC BY-NC 4.0", "citation": "c"}
        (registry / "weights" / f"{name}.yaml").write_text(yaml.safe_dump(about | entry))
    return registry
