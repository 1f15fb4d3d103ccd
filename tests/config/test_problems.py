from __future__ import annotations

from pathlib import Path

import pytest
from small_registry import (
    config,
)

from segbench.config.resolve import resolve
from segbench.errors import SegbenchError

ROOT = Path(__file__).parents[2]


def test_every_mistake_is_reported_at_once_with_path_value_and_nearest_name(registry: Path) -> None:
    raw = config(
        models=["unett"], modle=["unet"], seeds=["x"], exclude=[{"dataset": "cell", "model": "unet"}]
    )
    with pytest.raises(SegbenchError) as caught:
        resolve(raw, registry, source="my.yaml")
    text = str(caught.value)
    assert "my.yaml: modle: unknown key; did you mean 'models'?" in text
    assert "my.yaml: seeds.0" in text and "'x'" in text
    assert "unett.yaml; did you mean 'unet'?" in text


@pytest.mark.parametrize(
    ("recipe", "message"),
    [
        ({"optimizer": {"lrr": 1}}, "optimizer.lrr: unknown key; did you mean 'lr'?"),
        ({"augment": {"crop": [0, 4]}}, "augment.crop.0"),
        ({"schedule": {"name": "polly"}}, "(value: 'polly')"),
    ],
)
def test_mistakes_inside_a_recipe_are_found(registry: Path, recipe: dict, message: str) -> None:
    with pytest.raises(SegbenchError) as caught:
        resolve(config(overrides=[{"models": ["unet"], "recipe": recipe}]), registry)
    assert message in str(caught.value) and "recipe of unet on" in str(caught.value)
