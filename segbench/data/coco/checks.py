"""Checks that all readers of COCO files share: types of values, unique ids, lists that agree.

A number in quotes is an error: other programs compare ids by type, so that 1 and "1" are two ids to them.
Null and a missing field mean the same.
"""

from __future__ import annotations

import json
import logging
import math
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Annotated, Any, TypeVar

from pydantic import BeforeValidator

from segbench.errors import SegbenchError

T = TypeVar("T")
log = logging.getLogger(__name__)
_NUMBERS = "write numbers without quotes"


def whole(value: Any) -> int:
    """Return a whole number of at most 63 bits. ValueError if `value` is something else."""
    exact = type(value) is int or (type(value) is float and value.is_integer())
    if not exact or abs(value) >= 2**63:
        raise ValueError(f"{shown(value)}, not a whole number")
    return int(value)


def number(value: Any) -> float:
    """Return a finite number. ValueError if `value` is something else."""
    if type(value) not in (int, float) or not abs(value) < 1e300:
        raise ValueError(f"{shown(value)}, not a finite number")
    return float(value)


def flag(value: Any) -> bool:
    """Return 0, 1, true or false as a bool; null is false. ValueError if `value` is something else."""
    if value is not None and (type(value) not in (bool, int) or value not in (0, 1)):
        raise ValueError(f"{shown(value)}, not 0 or 1")
    return bool(value)


def text(value: Any) -> str:
    """Return text that is not blank. ValueError if `value` is something else."""
    if not isinstance(value, str) or not value.strip():
        raise ValueError(f"{shown(value)}, not a name")
    return value


def shown(value: Any) -> str:
    """Format a value as in the file, shortened to 60 characters."""
    try:
        found = json.dumps(value, ensure_ascii=False)
    except (TypeError, ValueError):
        found = repr(value)
    return found if len(found) <= 60 else f"{found[:60]}..."


Id = Annotated[int, BeforeValidator(whole)]
Number = Annotated[float, BeforeValidator(number)]
Flag = Annotated[bool, BeforeValidator(flag)]
Text = Annotated[str, BeforeValidator(text)]


def records(found: Any, kind: str, path: Path) -> list[dict[str, Any]]:
    """Return `found` if it is a list of JSON objects; SegbenchError if not. `kind`: what the entries are."""
    if not isinstance(found, list) or not all(isinstance(entry, dict) for entry in found):
        raise SegbenchError(
            f"{kind} are {shown(found)}, not a list of objects",
            where=path,
            remedy="give images, annotations and categories, each as a list",
        )
    return found


def column(
    entries: Sequence[Mapping[str, Any]], kind: str, key: str, read: Callable[[Any], T], path: Path
) -> list[T]:
    """Read one field of each entry.

    Args:
        entries: JSON objects.
        kind: what an entry is, for messages, such as `annotation`.
        key: name of the field.
        read: checks and converts a value, such as `whole`.
        path: the file, for messages.

    Raises:
        SegbenchError: values are not valid. It shows the first one and counts the others.
    """
    values: list[Any] = [entry.get(key) for entry in entries]
    if _is_sound(values, read):
        return values
    found, faults = [], []
    for place, value in enumerate(values, 1):
        try:
            found.append(read(value))
        except ValueError as error:
            faults.append(f"{kind} {place}" + (f" has no {key}" if value is None else f": {key} is {error}"))
    if faults:
        raise SegbenchError(
            f"{faults[0]}{more(faults)}", where=path, remedy=f"give each {kind} its {key}; {_NUMBERS}"
        )
    return found


def _is_sound(values: list[Any], read: Callable[[Any], Any]) -> bool:
    """Return whether all values are valid and need no conversion. Ten times faster than reading each."""
    kinds = set(map(type, values))
    if read is flag:
        return kinds <= {int} and set(values) <= {0, 1}
    if read is whole:
        return kinds <= {int} and (not values or -(2**63) < min(values) <= max(values) < 2**63)
    return read is number and _are_finite(values, kinds)


def _are_finite(values: Sequence[Any], kinds: set[type]) -> bool:
    if not kinds <= {int, float}:
        return False
    bounded = not values or (min(values) > -1e300 and max(values) < 1e300)
    return bounded and math.isfinite(sum(values))  # NaN makes the sum NaN


def more(names: Sequence[Any]) -> str:
    """Return ` (and N more)` for a message that shows the first of several names."""
    return f" (and {len(names) - 1} more)" if len(names) > 1 else ""


def listed(entries: Sequence[dict[str, Any]], kind: str, key: str, path: Path) -> dict[int, dict[str, Any]]:
    """Return entries by id. SegbenchError if an id is missing or occurs twice. `key`: field with the name."""
    numbers = column(entries, kind, "id", whole, path)
    unique_ids(((i, entry.get(key)) for i, entry in zip(numbers, entries)), kind, path)
    return dict(zip(numbers, entries))


def categories(found: Any, path: Path) -> dict[int, dict[str, Any]]:
    """Return categories by id. SegbenchError if ids or names are not valid or not unique."""
    entries = records(found, "categories", path)
    by_id = listed(entries, "category", "name", path)
    if any(abs(number) >= 2**31 for number in by_id):
        raise SegbenchError(
            f"category id {max(by_id, key=abs)} has more than 32 bits",
            where=path,
            remedy="number categories from 1",
        )
    unique_names(zip(by_id, column(entries, "category", "name", text, path)), "category", path)
    return by_id


def unique_ids(named: Iterable[tuple[int, Any]], kind: str, path: Path) -> dict[int, Any]:
    """Return names by id. SegbenchError if an id occurs twice. `kind`: what the ids name, for messages."""
    found: dict[int, Any] = {}
    for number, name in named:
        if number in found:
            raise SegbenchError(
                f"{kind} id {number} is listed twice: {shown(found[number])} and {shown(name)}",
                where=path,
                remedy=f"give each {kind} its own id, and list it once",
            )
        found[number] = name
    return found


def unique_names(named: Iterable[tuple[int, str]], kind: str, path: Path) -> dict[str, int]:
    """Return ids by name. SegbenchError if a name occurs twice. `kind`: what is named, for messages."""
    found: dict[str, int] = {}
    for number, name in named:
        if name in found:
            raise SegbenchError(
                f"{kind} {shown(name)} is listed twice, with the ids {found[name]} and {number}",
                where=path,
                remedy=f"give each {kind} one id",
            )
        found[name] = number
    return found


def check_same_ids(
    truth: Mapping[int, str], other: Mapping[int, str], kind: str, truth_path: Path, path: Path
) -> None:
    """Check that a name has the same id in two files that are compared by id.

    Log a warning if an id has two names of which each is in one file only.

    Args:
        truth, other: names by id.
        kind: what is named, for messages.
        truth_path, path: the files.

    Raises:
        SegbenchError: a name has different ids.
    """
    id_of = {name: number for number, name in truth.items()}
    moved = [(name, number) for number, name in other.items() if id_of.get(name, number) != number]
    if moved:
        name, number = moved[0]
        raise SegbenchError(
            f"{kind} {shown(name)} has the id {number}, in {truth_path} {id_of[name]}{more(moved)}",
            where=path,
            remedy="write both files with the same ids",
        )
    unlike = [f"{i} is {truth[i]} and {name}" for i, name in other.items() if truth.get(i, name) != name]
    if unlike:
        log.warning(
            "%s: names differ from those of %s: %s id %s%s", path, truth_path, kind, unlike[0], more(unlike)
        )


def stem(name: Any) -> str:
    """Return the name of an image without folder and suffix: a.jpg and a.png may be the same image."""
    return PurePosixPath(str(name).replace("\\", "/")).stem


def check_same_names(
    names: Collection[str], path: Path, known: Collection[str], other: Path, *, some: bool = False
) -> None:
    """Check that two files of a dataset list the same category names. `some`: `path` may list fewer."""
    unknown = [name for name in names if name not in known]
    if not unknown and not some:
        unknown, path, other = [name for name in known if name not in names], other, path
    if unknown:
        raise SegbenchError(
            f"lists category {shown(unknown[0])}{more(unknown)}, which {other} does not",
            where=path,
            remedy="give all files of the dataset the same category names",
        )


def check_finite(values: Sequence[Any], what: str) -> None:
    """Raise ValueError if one of `values` is not a finite number. `what`: what has them."""
    if _are_finite(values, set(map(type, values))):
        return
    for value in values:
        try:
            number(value)
        except ValueError as error:
            raise ValueError(f"{what} has {error}") from error
