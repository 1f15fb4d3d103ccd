"""The number of iterations of each training, as its recipe states it or its rule derives it."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import yaml
from pydantic import TypeAdapter, ValidationError

from segbench.contract.recipe import Recipe
from segbench.contract.run import CellDescription, RunDescription
from segbench.contract.statistics import DatasetStatistics
from segbench.contract.view import Category
from segbench.errors import SegbenchError
from segbench.files import read_json
from segbench.fitting.iterations import iterations
from segbench.fitting.situation import Situation

NEEDED = ("fit", "batch_size", "pretrained", "weights", "init_from")
"""Keys of a recipe that its rule looks at."""


def planned_iterations(run: RunDescription) -> dict[CellDescription, int]:
    """Return the iterations of each cell, except those that follow from a dataset that is not here yet."""
    recipes = _recipes(run.config_yaml)
    found: dict[CellDescription, int] = {}
    for cell in run.cells:
        recipe = recipes.get(cell.model, {}).get(cell.dataset, {})
        steps = recipe.get("iterations")
        if steps is None and recipe.get("fit"):
            steps = _derived(run, cell, recipe)
        if steps is not None:
            found[cell] = steps
    return found


@lru_cache(1)  # `segbench status --watch` asks again and again
def _recipes(config_yaml: str) -> dict[str, Any]:
    return (yaml.load(config_yaml, yaml.CSafeLoader) or {}).get("recipes", {})


def _derived(run: RunDescription, cell: CellDescription, recipe: dict[str, Any]) -> int | None:
    """Return what the rule `iterations` gives; None as long as the dataset cannot be read."""
    try:
        info = read_json(run.data(cell) / "dataset.json")
        given = Situation(
            Recipe.model_validate({key: recipe[key] for key in NEEDED if key in recipe}),
            {},
            cell.task,
            run.models[cell.model].fits,
            TypeAdapter(list[Category]).validate_python(info["categories"]),
            DatasetStatistics.model_validate(info["statistics"]),
        )
    except (SegbenchError, ValidationError, KeyError, TypeError):
        return None
    return next((one.value for one in iterations(given)), None)
