"""What a recipe with `fit` starts from, and what it leaves to the rules."""

from __future__ import annotations

from segbench.config.fit_start import fitted_recipe
from segbench.config.resolve import resolve

FITTED = [{"recipe": {"fit": True}}]

BASE = {
    "iterations": 80,
    "batch_size": 4,
    "options": {"queries": 50, "widths": [8]},
    "augment": {"crop": [100, 400], "scale": [0.6, 1.25], "color_jitter": 0.2},
    "inference": {"window": [192, 192], "batch_size": 2},
}


def test_without_fit_it_is_the_merged_recipe() -> None:
    assert fitted_recipe(BASE, {"augment": {"crop": [8, 8]}})["augment"]["crop"] == [8, 8]
    assert fitted_recipe(BASE, {}) == BASE


def test_values_of_the_network_become_the_start_of_the_rules() -> None:
    assert fitted_recipe(BASE, {"fit": True}) == {
        "fit": {"iterations": 80, "jitter": [0.6, 1.25], "queries": 50, "side": 200},
        "batch_size": 4,
        "options": {"widths": [8]},
        "augment": {"color_jitter": 0.2},
        "inference": {"batch_size": 2},
    }
    assert BASE["augment"]["crop"] == [100, 400]  # the entry itself is unchanged


def test_what_the_dataset_or_the_run_states_stays() -> None:
    stated = {"fit": {"side": 64}, "iterations": 7, "augment": {"scale": [1, 1]}}
    found = fitted_recipe(BASE, stated)
    assert found["iterations"] == 7 and found["augment"] == {"scale": [1, 1], "color_jitter": 0.2}
    assert found["fit"] == {"side": 64, "queries": 50}


def test_public_weights_are_not_fitted() -> None:
    public = {"iterations": 0, "weights": "w", "batch_size": 1, "inference": {"short_side": 800}}
    assert fitted_recipe(public, {"fit": True}) == {**public, "fit": None}


def test_protocols_that_promise_equal_numbers_of_images_keep_them_equal() -> None:
    assert fitted_recipe(BASE, {"fit": True}, equal_iterations=True)["fit"]["equal_iterations"] is True
    other = fitted_recipe(BASE, {"fit": {"equal_iterations": False}}, equal_iterations=True)
    assert other["fit"]["equal_iterations"] is False
    recipes = {}
    for name in ("demo", "budget", "standard"):
        raw = {"datasets": ["bubbles"], "models": ["unet"], "recipe": name, "overrides": FITTED}
        recipes[name] = next(cell.recipe for cell in resolve(raw).cells if cell.recipe)
    assert {name: one.fit.equal_iterations for name, one in recipes.items() if one.fit} == {
        "demo": False,
        "budget": True,
        "standard": True,
    }
