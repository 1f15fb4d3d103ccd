"""Classes of a dataset, and the view of them that a network trains on."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from functools import cached_property
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

Task = Literal["semantic", "detection", "instance", "panoptic"]
"""What is predicted: a class for each pixel, the box of each object, its mask, or segments of all pixels."""


TASKS: tuple[Task, ...] = ("semantic", "detection", "instance", "panoptic")  # from poorest to richest


def offered(tasks: Collection[Task]) -> list[Task]:
    """Return the tasks of a dataset with truth for `tasks`: masks of objects also give their boxes."""
    return [t for t in TASKS if t in tasks or (t == "detection" and "instance" in tasks)]


Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")]
"""Names of datasets, networks, runs and archives, which become file names."""


Level = Annotated[int, Field(ge=0, le=255)]


Color = tuple[Level, Level, Level]


class Category(BaseModel):
    """One class. The ids in a dataset's files start at 1; the implicit background has id 0."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    id: int
    name: str
    isthing: bool
    color: Color


BACKGROUND = Category(id=0, name="background", isthing=False, color=(0, 0, 0))


MAX_OVERLAPPING = 15
"""Largest number of classes that may overlap: each is a bit of a map of 16 bits, where 65535 is void."""


def void_value(categories: int, overlapping: bool = False) -> int:
    """Return the value of void pixels in semantic maps with a number of categories: 255 or 65535."""
    return 255 if categories <= (7 if overlapping else 254) else 65535


def has_class(values: Any, index: int) -> Any:
    """Return where a map of overlapping classes has a class.

    Args:
        values: H x W integer array or tensor: the sum of 2 ** index over the classes of a pixel; negative on
            void.
        index: index of the class.

    Returns:
        H x W bool; False on void.
    """
    return (values >= 0) & ((values >> index) & 1 == 1)


@dataclass(frozen=True)
class View:
    """A task and its classes, in the order of the network's logits."""

    task: Task
    classes: tuple[Category, ...]
    overlapping: bool = False
    """Whether a pixel may have several classes. Maps of labels then hold the sum of 2 ** index over the
    classes of a pixel, see `has_class`, and background is no class."""

    @property
    def thing_indices(self) -> tuple[int, ...]:
        """Indices of the classes that are things."""
        return tuple(i for i, c in enumerate(self.classes) if c.isthing)

    @cached_property
    def index_of(self) -> dict[int, int]:
        """Index in the logits by category id."""
        return {c.id: i for i, c in enumerate(self.classes)}
