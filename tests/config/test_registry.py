"""Reading of entries; every entry that the project ships is valid and names code that exists."""

from __future__ import annotations

from pathlib import Path

import pytest
from small_registry import config

from segbench.config.registry import overlay, read_protocol, read_yaml
from segbench.config.resolve import resolve
from segbench.config.schema import DatasetEntry, ModelEntry
from segbench.contract.recipe import Recipe
from segbench.contract.sources import WeightsEntry
from segbench.errors import SegbenchError
from segbench.importing import load_object

CONFIG = Path(__file__).parents[2] / "config"
MODELS = sorted((CONFIG / "models").glob("*.yaml"))
DATASETS = sorted((CONFIG / "datasets").glob("*.yaml"))


@pytest.mark.parametrize("path", MODELS, ids=lambda p: p.stem)
def test_models(path: Path) -> None:
    entry = ModelEntry.model_validate(read_yaml(path))
    network = load_object(entry.class_)
    if entry.trained:
        assert set(entry.tasks) == set(network.tasks)
        assert {"demo", "budget", "standard"} <= set(entry.recipes)
    datasets = [DatasetEntry.model_validate(read_yaml(p)) for p in DATASETS]
    for name, recipe in entry.recipes.items():
        recipe = overlay(read_protocol(CONFIG / "recipes", name, []), recipe)
        for data in datasets:
            whole = Recipe.model_validate(overlay(overlay(recipe, data.recipes.get(name, {})), data.recipe))
            for name in filter(None, (whole.pretrained, whole.weights)):
                weights = WeightsEntry.model_validate(read_yaml(CONFIG / "weights" / f"{name}.yaml"))
                made_for = weights.checkpoint and weights.checkpoint.class_
                assert made_for == (entry.class_ if whole.weights else None)


@pytest.mark.parametrize("path", DATASETS, ids=lambda p: p.stem)
def test_datasets(path: Path) -> None:
    entry = DatasetEntry.model_validate(read_yaml(path))
    assert callable(load_object(entry.convert))
    assert entry.archives or entry.convert.startswith("segbench.data.generated")


@pytest.mark.parametrize("path", sorted((CONFIG / "weights").glob("*.yaml")), ids=lambda p: p.stem)
def test_weights(path: Path) -> None:
    entry = WeightsEntry.model_validate(read_yaml(path))
    assert entry.licence
    if entry.checkpoint and entry.checkpoint.load:
        assert callable(load_object(entry.checkpoint.load))
        assert len(entry.checkpoint.classes) > 1 and len(entry.checkpoint.mean) == 3


def test_a_broken_registry_file_is_named(registry: Path) -> None:
    (registry / "models" / "unet.yaml").write_text("title: [")
    with pytest.raises(SegbenchError, match=r"unet\.yaml: cannot be read as YAML"):
        resolve(config(), registry)


def test_overlay_replaces_lists_and_merges_mappings() -> None:
    assert overlay({"a": {"b": 1, "c": [1, 2]}}, {"a": {"c": [3]}}) == {"a": {"b": 1, "c": [3]}}
