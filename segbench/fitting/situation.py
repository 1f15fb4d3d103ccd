"""What a rule sees, and what it returns."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from segbench.contract.cell import CellSpec
from segbench.contract.needs import Needs
from segbench.contract.recipe import Fit, Recipe
from segbench.contract.statistics import DatasetStatistics
from segbench.contract.view import Category, Task


class Derived(NamedTuple):
    """A value that a rule has set."""

    key: str
    """Key of the recipe, with dots between the levels, such as `augment.crop`."""
    value: Any
    rule: str
    """Name of the rule."""
    reason: str
    """The statistics that led to the value."""


@dataclass(frozen=True)
class Situation:
    """A cell, as far as the rules before have fitted it, and the dataset.

    Attributes:
        recipe: the recipe; `model_fields_set` of it and its parts tells what it states.
        options: arguments of the network's constructor; those that are there are stated.
        task: task that the network is trained on.
        needs: what the network needs to see.
        categories: classes of the dataset.
        statistics: statistics of its training images.
    """

    recipe: Recipe
    options: Mapping[str, Any]
    task: Task
    needs: Needs
    categories: Sequence[Category]
    statistics: DatasetStatistics

    @classmethod
    def of(cls, spec: CellSpec, categories: Sequence[Category], statistics: DatasetStatistics) -> Situation:
        return cls(spec.recipe, spec.options, spec.task, spec.fits, categories, statistics)

    @property
    def fit(self) -> Fit:
        assert self.recipe.fit is not None
        return self.recipe.fit

    def states(self, key: str) -> bool:
        """Return whether the recipe or the entry states a key, such as `augment.crop` or `options.loss`."""
        part, _, name = key.rpartition(".")
        if part == "options":
            return name in self.options
        stated: Any = self.recipe
        return name in (getattr(stated, part) if part else stated).model_fields_set

    @property
    def side(self) -> float:
        """Side of a square with as many pixels as a training crop."""
        if crop := self.recipe.augment.crop_size:
            return float(crop[0] * crop[1]) ** 0.5
        return float(self.fit.side)

    @property
    def whole(self) -> bool:
        """Whether crops should show whole images: the network learns where objects lie in them."""
        return self.needs.whole and self.task != "semantic"

    @property
    def classes(self) -> int:
        """Number of classes that the network learns."""
        if self.task in ("instance", "detection"):
            return sum(c.isthing for c in self.categories)
        return len(self.statistics.classes) if self.task == "semantic" else len(self.categories)

    @property
    def structure(self) -> float | None:
        """Median width of the regions of a class, without the background; None without maps."""
        widths = sorted(c.width for c in self.statistics.classes if c.id and c.width)
        return widths[(len(widths) - 1) // 2] if widths else None
