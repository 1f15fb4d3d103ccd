"""What the configurations of the README promise."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml

from segbench.config.resolve import resolve
from segbench.config.resolved_run import ResolvedRun
from segbench.contract.view import TASKS

CONFIG = Path(__file__).parents[2] / "config"
RUNS = ("benchmark", "paper", "small")


@cache
def run(name: str) -> ResolvedRun:
    raw = yaml.safe_load((CONFIG / f"{name}.yaml").read_text())
    return resolve(raw, CONFIG, f"config/{name}.yaml")


@cache
def entries(kind: str) -> dict[str, dict[str, Any]]:
    return {path.stem: yaml.safe_load(path.read_text()) for path in (CONFIG / kind).glob("*.yaml")}


@pytest.mark.parametrize("name", RUNS)
def test_a_run_bears_its_name_and_states_its_cost_first(name: str) -> None:
    head = (CONFIG / f"{name}.yaml").read_text().split("\nrun:")[0].splitlines()
    assert run(name).config.run == name
    assert len([line for line in head if line.startswith("# cost: ")]) == 1


def test_the_benchmark_has_every_dataset_and_every_network() -> None:
    found = run("benchmark")
    assert set(found.datasets) == {name for name, entry in entries("datasets").items() if entry["archives"]}
    networks = {name for name, entry in entries("models").items() if entry.get("trained", True)}
    assert {cell.model for cell in found.cells if not cell.control} == networks
    assert found.config.seeds == [0, 1, 2] and found.config.recipe == "standard"
    for dataset in found.datasets:
        folds = found.config.folds_of(dataset) or 1
        cells = [c for c in found.cells if c.dataset == dataset and not c.control]
        assert len(cells) == 3 * folds * len({c.model for c in cells})


def test_the_benchmark_folds_small_datasets_only() -> None:
    folds = run("benchmark").config.folds
    assert isinstance(folds, dict)
    assert folds and all(sum(entries("datasets")[name]["images"].values()) <= 50 for name in folds)


def test_the_papers_are_the_pairs_with_a_published_score() -> None:
    pairs = {
        (dataset, name)
        for name, entry in entries("models").items()
        for dataset in entry.get("papers", {})
        if any(one.get("dataset") == dataset for one in entry.get("published", []))
    }
    found = run("paper")
    assert {(c.dataset, c.model) for c in found.cells if not c.control} == pairs and len(pairs) > 15
    assert found.config.recipe == "paper" and not found.skipped
    recipe = found.by_key["coco2017", "mask_rcnn_resnet50_fpn", "seed0"].recipe
    assert recipe and recipe.gpus == 8, "as published"


def test_the_small_run_has_each_task_at_full_size_on_one_gpu() -> None:
    found = run("small")
    offered = {task for entry in found.datasets.values() for task in entry.tasks}
    assert {*offered, "detection"} == set(TASKS)
    assert len(found.datasets) == 3 and len(found.config.seeds) == 1
    assert found.config.dataset_options == {} and found.config.mirror is None
    assert all(cell.recipe.gpus == 1 for cell in found.cells if cell.recipe)


def test_the_docs_list_what_must_be_placed_by_hand() -> None:
    page = (CONFIG.parent / "docs/reproduce.md").read_text()
    for name, entry in entries("datasets").items():
        for archive, described in entry["archives"].items():
            listed = f"| `{name}` |" in page and f"`{archive}`" in page
            assert listed == bool(described.get("manual")), archive
