"""What a cell trains, fully resolved; importable without torch."""

from __future__ import annotations

import importlib
from typing import Any

from segbench.data.dataset import Task
from segbench.errors import SegbenchError, nearest
from segbench.recipe import Recipe, Strict


class CellSpec(Strict):
    """Everything that decides the weights beside the data; `Recipe.inference` stands apart, at prediction."""

    class_path: str
    """`package.module:Class` of the network."""
    options: dict[str, Any] = {}
    """Constructor options, the recipe's laid over the entry's already."""
    task: Task
    recipe: Recipe
    seed: int


def load_class(path: str) -> Any:
    """The object called `package.module:Name`."""
    module_name, _, name = path.partition(":")
    if not name:
        raise SegbenchError(f"'{path}' is not of the form package.module:Class", where="class")
    try:
        module = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        raise SegbenchError(
            f"cannot import '{module_name}' ({error})",
            where=path,
            remedy="check the `class:` key of its entry",
        ) from error
    try:
        return getattr(module, name)
    except AttributeError as error:
        hint = nearest(name, vars(module))
        raise SegbenchError(
            f"'{module_name}' has no '{name}'", where=path, remedy=f"did you mean '{hint}'?" if hint else None
        ) from error
