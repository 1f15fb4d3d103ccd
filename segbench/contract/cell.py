"""What a cell trains, fully resolved; importable without torch."""

from __future__ import annotations

from typing import Any

from segbench.contract.recipe import Recipe, Strict
from segbench.contract.view import Task


class ControlSpec(Strict):
    """What a control without training needs."""

    class_path: str
    task: Task
    seed: int


class CellSpec(Strict):
    """Everything that decides the weights beside the data; `Recipe.inference` stands apart, at prediction."""

    class_path: str
    """`package.module:Class` of the network."""
    options: dict[str, Any] = {}
    """Constructor options, the recipe's laid over the entry's already."""
    task: Task
    recipe: Recipe
    seed: int
