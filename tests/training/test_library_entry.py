"""One more network of a library is one YAML entry: from the file to a trained network, and to its score."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import yaml
from small_library import ENTRIES

from segbench.config.resolve import resolve
from segbench.contract.cell import CellSpec
from segbench.models.saved import load_model

DATASET = {
    "title": "Shapes",
    "convert": "segbench.data.generated.street:convert",
    "tasks": ["semantic", "instance", "panoptic"],
    "channels": 3,
    "options": {"size": [64, 96], "images": {"train": 1, "test": 1}},
    "licence": "CC0",
    "citation": "none",
}


@pytest.mark.parametrize("name", ENTRIES)
def test_an_entry_is_all_that_a_network_of_a_library_needs(name: str, run, tmp_path: Path) -> None:
    for folder in ("datasets", "models", "weights"):
        (tmp_path / folder).mkdir()
    (tmp_path / "datasets/shapes.yaml").write_text(yaml.safe_dump(DATASET))
    (tmp_path / f"models/{name}.yaml").write_text(ENTRIES[name])
    (cell,) = resolve({"datasets": ["shapes"], "models": [name], "controls": []}, tmp_path).cells
    told = run("cell", CellSpec.model_validate_json(cell.spec))
    assert told["iterations"] == 3
    network = load_model(tmp_path / "cell/model.pt", torch.device("cpu")).network
    (found,) = network.predict(torch.randn(1, 3, 40, 56), [(40, 56)])
    assert found.semantic is not None and found.semantic.shape == (40, 56)
