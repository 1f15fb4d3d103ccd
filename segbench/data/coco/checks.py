"""Checks that every reader of COCO files makes: numbers are numbers, ids are unique, lists agree.

A number in quotes is text and an error, everywhere: other programs compare ids as they stand, and to them 1
and "1" are two ids. Null and a missing field are the same.
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
_NUMBERS = "numbers stand without quotes"


def whole(value: Any) -> int:
    """A whole number; ValueError says what stands in its place."""
    exact = type(value) is int or (type(value) is float and value.is_integer())
    if not exact or abs(value) >= 2**63:
        raise ValueError(f"{shown(value)}, not a whole number")
    return int(value)


def number(value: Any) -> float:
    """A finite number."""
    if type(value) not in (int, float) or not abs(value) < 1e300:
        raise ValueError(f"{shown(value)}, not a finite number")
    return float(value)


def flag(value: Any) -> bool:
    """0, 1, true or false; null is false."""
    if value is not None and (type(value) not in (bool, int) or value not in (0, 1)):
        raise ValueError(f"{shown(value)}, not 0 or 1")
    return bool(value)


def text(value: Any) -> str:
    """A name."""
    if not isinstance(value, str) or not value.strip():
        raise ValueError(f"{shown(value)}, not a name")
    return value


def shown(value: Any) -> str:
    """A value as it stands in the file, shortened."""
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
    """A list of JSON objects."""
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
    """`read` of a field of each entry, such as `whole`; all faults are reported at once."""
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
    """Whether all values may stay as they are, in a tenth of the time that it takes to read each."""
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
    return bounded and math.isfinite(sum(values))  # the sum is none with NaN


def more(names: Sequence[Any]) -> str:
    """How many names there are beyond the first."""
    return f" (and {len(names) - 1} more)" if len(names) > 1 else ""


def listed(entries: Sequence[dict[str, Any]], kind: str, key: str, path: Path) -> dict[int, dict[str, Any]]:
    """Entries by their id, each of which is listed once; `key` is the field with their name."""
    numbers = column(entries, kind, "id", whole, path)
    unique_ids(((i, entry.get(key)) for i, entry in zip(numbers, entries)), kind, path)
    return dict(zip(numbers, entries))


def categories(found: Any, path: Path) -> dict[int, dict[str, Any]]:
    """A list of categories by id; ids and names are unique."""
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
    """Names by their id, each of which is listed once."""
    found: dict[int, Any] = {}
    for number, name in named:
        if number in found:
            raise SegbenchError(
                f"{kind} id {number} is listed twice: {shown(found[number])} and {shown(name)}",
                where=path,
                remedy=f"give each {kind} an id of its own, once",
            )
        found[number] = name
    return found


def unique_names(named: Iterable[tuple[int, str]], kind: str, path: Path) -> dict[str, int]:
    """Ids by their name, each of which is listed once."""
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
    """Two files that are compared by id must mean the same by it: a name has one id in both.

    Names that only one file knows are no contradiction, unless they share an id: that is a warning.
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
    """Name of an image without folder and ending: programs write image.jpg and image.png of the same one."""
    return PurePosixPath(str(name).replace("\\", "/")).stem


def check_same_names(
    names: Collection[str], path: Path, known: Collection[str], other: Path, *, some: bool = False
) -> None:
    """Two files of one set list the same categories; `some`: `path` may list fewer."""
    unknown = [name for name in names if name not in known]
    if not unknown and not some:
        unknown, path, other = [name for name in known if name not in names], other, path
    if unknown:
        raise SegbenchError(
            f"lists category {shown(unknown[0])}{more(unknown)}, which {other} does not",
            where=path,
            remedy="give all files of the set the same categories, by name",
        )


def check_finite(values: Sequence[Any], what: str) -> None:
    """ValueError where one of `values` is no finite number."""
    if _are_finite(values, set(map(type, values))):
        return
    for value in values:
        try:
            number(value)
        except ValueError as error:
            raise ValueError(f"{what} holds {error}") from error
