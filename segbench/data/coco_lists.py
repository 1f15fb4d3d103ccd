"""Checks that every reader of COCO files makes: numbers are numbers, ids are unique, lists agree.

A number in quotes is text and an error, everywhere: other programs compare ids as they stand, and to them 1
and "1" are two ids. Null and a missing field are the same.
"""

from __future__ import annotations

import json
import logging
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Annotated, Any, TypeVar

from pydantic import BeforeValidator

from segbench.errors import SegbenchError

T = TypeVar("T")
log = logging.getLogger(__name__)
_NUMBERS = "numbers stand without quotes"
_SHOWN = 5
"""Names that a message lists."""


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
    plain = read is whole and set(map(type, values)) <= {int}
    if plain and max(values, default=0) < 2**63 and min(values, default=0) > -(2**63):
        return values  # a tenth of the time that the checks below take
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


def more(names: Sequence[Any]) -> str:
    """How many names there are beyond the first."""
    return f" (and {len(names) - 1} more)" if len(names) > 1 else ""


def listed(entries: Sequence[dict[str, Any]], kind: str, key: str, path: Path) -> dict[int, dict[str, Any]]:
    """Entries by their id, each of which is listed once; `key` is the field with their name."""
    by_id: dict[int, dict[str, Any]] = {}
    for number, entry in zip(column(entries, kind, "id", whole, path), entries):
        first = by_id.setdefault(number, entry)
        if first is not entry:
            raise SegbenchError(
                f"{kind} id {number} is listed twice: {shown(first.get(key))} and {shown(entry.get(key))}",
                where=path,
                remedy=f"give each {kind} an id of its own, once",
            )
    return by_id


def categories(found: Any, path: Path) -> dict[int, dict[str, Any]]:
    """A list of categories by id; ids and names are unique."""
    entries = records(found, "categories", path)
    by_id = listed(entries, "category", "name", path)
    names = column(entries, "category", "name", text, path)
    for name, ids in grouped(zip(names, by_id)).items():
        if len(ids) > 1:
            raise SegbenchError(
                f"category {shown(name)} is listed twice, with the ids {ids[0]} and {ids[1]}",
                where=path,
                remedy="give each category one id",
            )
    return by_id


def grouped(pairs: Iterable[tuple[str, int]]) -> dict[str, list[int]]:
    found: dict[str, list[int]] = {}
    for name, number in pairs:
        found.setdefault(name, []).append(number)
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


def by_name(own: Mapping[int, str], known: Mapping[str, int], path: Path, reference: Path) -> dict[int, int]:
    """Ids of a file -> numbers of the classes, which `known` gives by name; a difference of ids is logged."""
    unknown = [name for name in own.values() if name not in known]
    if unknown:
        names = ", ".join(map(shown, unknown[:_SHOWN]))
        raise SegbenchError(
            f"lists {names}{more(unknown) if len(unknown) > _SHOWN else ''}, which {reference} does not",
            where=path,
            remedy="give all files of the set the same categories, by name",
        )
    return {number: known[name] for number, name in own.items()}


def check_finite(values: Sequence[Any], what: str) -> None:
    """ValueError where one of `values` is no finite number."""
    plain = set(map(type, values)) <= {int, float} and values
    if plain and min(values) > -1e300 and max(values) < 1e300 and math.isfinite(sum(values)):
        return  # the sum is none with NaN
    for value in values:
        try:
            number(value)
        except ValueError as error:
            raise ValueError(f"{what} holds {error}") from error
