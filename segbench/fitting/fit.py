"""Apply all rules to a cell."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from segbench.contract.cell import CellSpec
from segbench.contract.statistics import DatasetStatistics
from segbench.contract.view import Category
from segbench.fitting.accumulate import accumulate
from segbench.fitting.crop import crop
from segbench.fitting.dice import dice
from segbench.fitting.iterations import iterations
from segbench.fitting.objects import detections, queries
from segbench.fitting.scale import scale
from segbench.fitting.situation import Derived, Situation
from segbench.fitting.window import window

RULES: tuple[Callable[[Situation], list[Derived]], ...] = (
    scale,
    crop,
    window,
    accumulate,
    iterations,
    dice,
    queries,
    detections,
)
"""In the order of their application: a rule sees what those before it have set."""


@dataclass(frozen=True)
class Fitted:
    """A cell whose recipe has been fitted to its dataset."""

    spec: CellSpec
    derived: list[Derived] = field(default_factory=list)
    """What the rules have set, in their order; empty if the recipe has no `fit`."""


def fitted(spec: CellSpec, categories: Sequence[Category], statistics: DatasetStatistics) -> Fitted:
    """Derive what the recipe of a cell does not state. What it states is never changed.

    Args:
        spec: the cell. `model_fields_set` of its recipe tells what is stated, and `options` has only stated
            ones.
        categories: classes of the dataset.
        statistics: statistics of its training images.
    """
    if spec.recipe.fit is None:
        return Fitted(spec)
    given, derived = Situation.of(spec, categories, statistics), []
    for rule in RULES:
        values = rule(given)
        derived += values
        given = _with(given, values)
    found = {"recipe": given.recipe, "options": dict(given.options)}
    return Fitted(spec.model_copy(update=found), derived)


def _with(given: Situation, found: Sequence[Derived]) -> Situation:
    """Return the situation with derived values. They do not count as stated."""
    for one in found:
        part, _, name = one.key.rpartition(".")
        if part == "options":
            given = replace(given, options={**given.options, name: one.value})
            continue
        recipe = given.recipe
        if part:
            changed: Any = _unstated(getattr(recipe, part), name, one.value)
            recipe = _unstated(recipe, part, changed)
        else:
            recipe = _unstated(recipe, name, one.value)
        given = replace(given, recipe=recipe)
    return given


def _unstated(model: Any, name: str, value: Any) -> Any:
    changed = model.model_copy(update={name: value})
    if name not in model.model_fields_set:
        changed.model_fields_set.discard(name)
    return changed
