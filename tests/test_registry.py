"""Every entry that the project ships is valid and names something that is there."""

from __future__ import annotations

from pathlib import Path

import pytest

from segbench.config import DatasetEntry, ModelEntry, overlay, read_yaml
from segbench.importing import load_object
from segbench.models.weights import WeightsEntry
from segbench.recipe import Recipe

CONFIG = Path(__file__).parents[1] / "config"
MODELS = sorted((CONFIG / "models").glob("*.yaml"))
DATASETS = sorted((CONFIG / "datasets").glob("*.yaml"))


@pytest.mark.parametrize("path", MODELS, ids=lambda p: p.stem)
def test_models(path: Path) -> None:
    entry = ModelEntry.model_validate(read_yaml(path))
    network = load_object(entry.class_)
    if entry.trained:
        assert set(entry.tasks) == set(network.tasks)
        assert {"demo", "budget"} <= set(entry.recipes)
    symmetries = [DatasetEntry.model_validate(read_yaml(p)).recipe for p in DATASETS]
    for recipe in entry.recipes.values():
        for layer in symmetries:
            pretrained = Recipe.model_validate(overlay(recipe, layer)).pretrained
            assert pretrained is None or (CONFIG / "weights" / f"{pretrained}.yaml").exists()


@pytest.mark.parametrize("path", DATASETS, ids=lambda p: p.stem)
def test_datasets(path: Path) -> None:
    entry = DatasetEntry.model_validate(read_yaml(path))
    assert callable(load_object(entry.convert))
    assert entry.archives or entry.convert.startswith("segbench.data.generated")


@pytest.mark.parametrize("path", sorted((CONFIG / "weights").glob("*.yaml")), ids=lambda p: p.stem)
def test_weights(path: Path) -> None:
    assert WeightsEntry.model_validate(read_yaml(path)).licence
