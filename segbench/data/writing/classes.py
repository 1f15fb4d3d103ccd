"""Check the names of classes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from segbench.contract.view import BACKGROUND, MAX_OVERLAPPING, Category
from segbench.data.dataset import Converted
from segbench.errors import SegbenchError


def check_categories(categories: Sequence[Category], background: bool, dataset: str) -> None:
    """Check that class names are unique and printable, as tables and messages show them.

    Args:
        categories: the classes, with ids from 1.
        background: whether the dataset has the implicit class `background`.
        dataset: name of the dataset.

    Raises:
        SegbenchError: names are not valid. It lists all of them.
    """
    if [c.id for c in categories] != list(range(1, len(categories) + 1)):
        raise ValueError("category ids must count from 1")
    faults = []
    for category in categories:
        name = category.name
        if not name.strip():
            faults.append(f"the name of class {category.id} is empty ({name!r})")
        elif name != name.strip() or not name.isprintable():
            faults.append(f"{name!r} begins or ends with a space, or has characters that cannot be printed")
        elif background and name.casefold() in (BACKGROUND.name, "_background_"):
            faults.append(
                f"{name!r} is the name of the implicit class 0, to which all unlabelled pixels belong"
            )
    times = Counter(c.name.strip().casefold() for c in categories)
    twice = [name for name, count in times.items() if name and count > 1]
    faults += [
        f"{times[name]} classes are named {name!r} (upper and lower case count as equal)" for name in twice
    ]
    if faults:
        raise SegbenchError(
            "class names: " + "; ".join(faults),
            where=f"dataset {dataset}",
            remedy="rename the label in the source; unlabelled pixels do not need a class",
        )


def check_overlapping(converted: Converted, dataset: str) -> None:
    """Check that a map of bits can hold the classes. SegbenchError if there are too many."""
    if converted.background:
        raise ValueError("a dataset with overlapping classes has no background class")
    if (count := len(converted.categories)) > MAX_OVERLAPPING:
        raise SegbenchError(
            f"has {count} classes that may overlap; at most {MAX_OVERLAPPING} are supported",
            where=f"dataset {dataset}",
            remedy="give related classes one name, or let classes cover each other (overlap: last)",
        )
