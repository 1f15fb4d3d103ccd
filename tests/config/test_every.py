"""`datasets: all` and `models: all`."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from small_registry import RECIPE, config, dataset, model

from segbench.config.resolve import resolve
from segbench.errors import SegbenchError

ARCHIVE = {"a.zip": {"url": "https://example.org/a.zip"}}
RECIPES = {"demo": RECIPE, "paper": RECIPE}


def add(registry: Path, **entries: dict) -> None:
    for name, entry in entries.items():
        (registry / f"{name.replace('__', '/')}.yaml").write_text(yaml.safe_dump(entry))


def published(name: str) -> dict:
    return {"dataset": name, "split": "val", "metric": "miou", "value": 0.5, "tolerance": 0.01, "source": "s"}


def test_all_datasets_are_those_with_archives(registry: Path) -> None:
    add(registry, datasets__photos=dataset(["semantic"], archives=ARCHIVE))
    add(registry, datasets__own=dataset(["semantic"], options={"size": [8, 8]}))
    assert list(resolve(config(datasets="all"), registry).datasets) == ["photos"]


def test_all_networks_are_those_with_the_recipe(registry: Path) -> None:
    add(registry, models__other=model(["semantic"], recipes={"budget": {"iterations": 1}}))
    run = resolve(config(models="all"), registry)
    assert list(run.models) == ["mask2former", "mask_rcnn", "unet", "control_truth"]


def test_all_of_a_paper_are_the_pairs_with_a_published_score(registry: Path) -> None:
    for name in ("photos", "streets", "unused"):
        add(registry, **{f"datasets__{name}": dataset(["semantic"], archives=ARCHIVE)})
    both = {"photos": {}, "streets": {}}
    add(
        registry,
        models__one=model(["semantic"], recipes=RECIPES, papers=both, published=[published("photos")]),
        models__two=model(["semantic"], recipes=RECIPES, papers=both, published=[published("streets")]),
        models__silent=model(["semantic"], recipes=RECIPES, papers=both),
    )
    run = resolve(config(datasets="all", models="all", recipe="paper", controls=[]), registry)
    assert [(c.dataset, c.model) for c in run.cells] == [("photos", "one"), ("streets", "two")]
    assert run.skipped == []
    some = resolve(config(datasets=["photos"], models="all", recipe="paper", controls=[]), registry)
    assert [(c.dataset, c.model) for c in some.cells] == [("photos", "one")]


def test_an_entry_with_a_mistake_is_reported(registry: Path) -> None:
    add(registry, datasets__wrong=dataset(["semantic"], archives=ARCHIVE, titel="t"))
    with pytest.raises(SegbenchError, match=r"wrong\.yaml: titel: unknown key"):
        resolve(config(datasets="all"), registry)


@pytest.mark.parametrize("models", [[{"a": 1}], 3, None, [["unet"]]])
def test_all_beside_a_mistake(registry: Path, models: object) -> None:
    with pytest.raises(SegbenchError, match="models"):
        resolve(config(datasets="all", models=models, recipe="paper"), registry)


def test_an_unknown_word_instead_of_a_list_is_a_mistake(registry: Path) -> None:
    with pytest.raises(SegbenchError, match="datasets"):
        resolve(config(datasets="every"), registry)
