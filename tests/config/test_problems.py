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


@pytest.mark.parametrize(
    ("augment", "message"),
    [
        ({"short_sides": [640], "resize": [64, 64]}, "resize and short_sides both resize; keep one"),
        ({"scale": [0.5, 2], "ratio_range": {"base": [64, 32]}}, "scale and ratio_range both resize"),
        ({"max_side": 1333}, "max_side needs short_sides; add them, or set max_side to null"),
        ({"max_class_share": 0.75}, "max_class_share needs crop; add it, or set max_class_share to null"),
        ({"color_jitter": 0.2, "photometric": {}}, "color_jitter and photometric both change colours"),
        ({"scale": [2, 0.5]}, "augment.scale: the first value of a range must not be larger"),
        ({"blur": {"sigma": [3, 1]}}, "augment.blur.sigma: the first value of a range must not be larger"),
        ({"short_sides": []}, "augment.short_sides: "),
        ({"elastic": {"alpha": 10}}, "augment.elastic: give `alpha` and `sigma`, or `std` (with `grid`)"),
        ({"elastic": {"std": 10, "sigma": 3}}, "augment.elastic: `alpha` and `sigma` do not go with `std`"),
        ({"rotate": {"degree": 10}}, "augment.rotate.degree: unknown key; did you mean 'degrees'?"),
    ],
)
def test_random_changes_that_do_not_go_together(registry: Path, augment: dict, message: str) -> None:
    with pytest.raises(SegbenchError) as caught:
        resolve(config(overrides=[{"models": ["unet"], "recipe": {"augment": augment}}]), registry)
    assert message in str(caught.value) and "recipe of unet on" in str(caught.value)


def test_null_switches_a_random_change_off(registry: Path) -> None:
    off = dict.fromkeys(("scale", "color_jitter", "horizontal_flip", "rotate90", "blur", "crop"))
    given = {"short_sides": [64], "blur": {"sigma": [1, 2]}, "scale": [0.5, 2], "color_jitter": 0.3}
    overrides = [{"recipe": {"augment": one}} for one in (given | {"scale": None}, off)]
    run = resolve(config(overrides=overrides), registry)
    augment = next(cell.recipe.augment for cell in run.cells if cell.recipe)
    assert (augment.scale, augment.color_jitter) == ((1.0, 1.0), 0.0)
    assert not augment.horizontal_flip and not augment.rotate90
    assert augment.blur is None and augment.short_sides == [64]


@pytest.mark.parametrize(
    ("key", "value", "wrong"),
    [
        ("copy_paste", {"probability": 1}, {"vessels": "semantic", "cells": None, "street": None}),
        ("max_class_share", 0.75, {"vessels": None, "cells": "instance", "street": None}),
    ],
)
def test_changes_that_need_another_truth(registry: Path, key: str, value: object, wrong: dict) -> None:
    recipe = {"augment": {key: value, "crop": [64, 64]}}
    for dataset, task in wrong.items():
        raw = config(datasets=[dataset], models=["mask2former"], overrides=[{"recipe": recipe}])
        if task is None:
            resolve(raw, registry)
            continue
        with pytest.raises(SegbenchError) as caught:
            resolve(raw, registry)
        text = str(caught.value)
        assert f"recipe of mask2former on {dataset}: augment.{key}: needs " in text
        assert f"trained on {task} truth here; set {key} to null for the pair" in text


@pytest.mark.parametrize(
    ("dataset", "model", "recipe", "message"),
    [
        ("street", "mask2former_resnet50", {"class_weights": "inverse_log"}, "needs a semantic network"),
        ("street", "unet", {"class_weights": [1, 2], "options": {"activation": "sigmoid"}}, "with a softmax"),
        ("vessels", "unet", {"border_weights": {}}, "needs masks of objects, and vessels has none"),
        ("bubbles", "unet", {"border_weights": {}, "class_weights": "inverse_log"}, None),
    ],
)
def test_weights_of_pixels_that_do_not_fit(
    dataset: str, model: str, recipe: dict, message: str | None
) -> None:
    raw = config(datasets=[dataset], models=[model], overrides=[{"recipe": recipe}])
    if message is None:
        resolve(raw)
        return
    key = next(iter(recipe))
    with pytest.raises(
        SegbenchError, match=f"recipe of {model} on {dataset}: {key}: .*; remove {key}"
    ) as caught:
        resolve(raw)
    assert message in str(caught.value)
