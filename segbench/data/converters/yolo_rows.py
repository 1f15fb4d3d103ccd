"""Read the text files of YOLO's segmentation folders: a row for each object."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from segbench.errors import SegbenchError

TOLERANCE = 0.01
"""How far coordinates may lie outside of 0 to 1, as in Ultralytics. They are clipped."""
FIX = "fix the row, or remove it"


@dataclass
class Rows:
    """The valid rows of a text file, its errors, and the number of rows that are skipped."""

    objects: list[tuple[int, list[float]]] = field(default_factory=list)
    """Class from 0, and x, y, ... as shares of width and height."""
    faults: list[SegbenchError] = field(default_factory=list)
    boxes: int = 0
    twice: int = 0


def read_rows(path: Path, classes: int | None = None) -> Rows:
    """Read a text file. `classes`: the number of classes, to check."""
    rows = Rows()
    if not path.is_file():
        return rows
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        rows.faults.append(SegbenchError(f"is not readable text ({error})", where=path, remedy=FIX))
        return rows
    seen = set()
    for number, line in enumerate(lines, 1):
        values = tuple(line.split())
        if not values:
            continue
        if values in seen:
            rows.twice += 1
            continue
        seen.add(values)
        try:
            kind, points = _row(values, classes)
        except ValueError as error:
            rows.faults.append(SegbenchError(f"line {number}: {error}", where=path, remedy=FIX))
            continue
        if points:
            rows.objects.append((kind, points))
        else:
            rows.boxes += 1
    return rows


def _row(values: Sequence[str], classes: int | None) -> tuple[int, list[float]]:
    """Return class and corners, clipped to 0..1; no corners for a box. ValueError if the row is not valid."""
    numbers = [_number(text) for text in values]
    kind = numbers[0]
    if kind != int(kind) or kind < 0:
        raise ValueError(f"the class is {values[0]}, not a whole number from 0")
    if classes is not None and kind >= classes:
        raise ValueError(f"the class is {int(kind)}, but there are only the classes 0 to {classes - 1}")
    if len(numbers) < 5:
        raise ValueError(f"{len(numbers)} values; an outline has a class and at least three corners")
    if len(numbers) % 2 == 0:
        raise ValueError(f"{len(numbers) - 1} coordinates after the class, an odd number")
    wrong = [v for v, number in zip(values[1:], numbers[1:]) if not -TOLERANCE <= number <= 1 + TOLERANCE]
    if wrong:
        more = f" (and {len(wrong) - 1} more)" if len(wrong) > 1 else ""
        raise ValueError(f"the coordinate {wrong[0]} is not in 0 to 1{more}; divide by width or height")
    points = [min(max(number, 0.0), 1.0) for number in numbers[1:]]
    return int(kind), points if len(points) > 4 else []


def _number(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise ValueError(f"{text[:40]!r} is not a number")
    return value
