"""What `segbench train` and `segbench predict` get of a cell. This module does not import torch."""

from __future__ import annotations

from typing import Any

from segbench.contract.needs import Needs
from segbench.contract.recipe import Recipe, Strict
from segbench.contract.view import Task


class ControlSpec(Strict):
    """What the prediction of a control depends on."""

    class_path: str
    task: Task
    seed: int


class CellSpec(Strict):
    """What the weights of a trained network depend on, apart from the dataset.

    The prediction gets `Recipe.inference` separately.
    """

    class_path: str
    """`package.module:Class` of the network."""
    options: dict[str, Any] = {}
    """Arguments of the constructor, those of the recipe included."""
    task: Task
    recipe: Recipe
    fits: Needs = Needs()
    """What the network needs to see, if its recipe is fitted to the dataset."""
    seed: int
