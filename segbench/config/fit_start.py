"""Recipes with `fit`: the network's own values become what the rules start from."""

from __future__ import annotations

import math
from collections.abc import Mapping
from copy import deepcopy
from typing import Any

from segbench.config.registry import overlay

START = {"iterations": "iterations", "augment.scale": "jitter", "options.queries": "queries"}
"""Keys of a network's recipe, and the key of `fit` that each becomes."""
DERIVED = ("augment.crop", "inference.short_side", "inference.max_side", "inference.window")
"""Further keys of a network's recipe that rules derive."""


def fitted_recipe(
    base: Mapping[str, Any], stated: Mapping[str, Any], *, equal_iterations: bool = False
) -> dict[str, Any]:
    """Merge a recipe. If it has `fit`, keys of the network's recipe that rules derive are removed.

    Args:
        base: recipe of the protocol and the network, for datasets of any kind.
        stated: what the dataset's entry and the run say. The rules never change it.
        equal_iterations: whether the protocol promises the same number of images to all networks.

    Returns:
        The recipe; `fit` in it has the crop's side, the range of scales, the iterations and the queries of
        `base` where `stated` has no other values.
    """
    merged = deepcopy(overlay(base, stated))
    if not (fit := merged.get("fit")) or merged.get("iterations") == 0:
        return {**merged, "fit": None} if fit else merged
    start: dict[str, Any] = {"equal_iterations": True} if equal_iterations else {}
    for key, name in START.items():
        if (value := _taken(merged, base, stated, key)) is not None:
            start[name] = value
    for key in DERIVED:
        value = _taken(merged, base, stated, key)
        if key == "augment.crop" and value is not None:
            numbers = isinstance(value, list) and all(isinstance(side, int) for side in value)
            start["side"] = round(math.sqrt(math.prod(value))) if numbers else value
    merged["fit"] = start | (dict(fit) if isinstance(fit, Mapping) else {})
    return merged


def _taken(merged: dict[str, Any], base: Mapping[str, Any], stated: Mapping[str, Any], key: str) -> Any:
    """Remove a key from `merged` and return its value, if only `base` has it; else return None."""
    part, _, name = key.rpartition(".")
    own, below, above = (_part(where, part) for where in (merged, base, stated))
    return own.pop(name) if name in below and name not in above else None


def _part(recipe: Any, part: str) -> dict[str, Any]:
    found = recipe.get(part) if part else recipe
    return found if isinstance(found, dict) else {}
