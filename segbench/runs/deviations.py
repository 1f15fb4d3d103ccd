"""Compare recorded tables with those that were computed again, value by value."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from itertools import zip_longest
from pathlib import Path
from typing import Any

import pandas as pd

from segbench.errors import SegbenchError

TOLERANCE = 1e-9
"""Numbers that differ by this share are equal: sums in another order differ in the last bits."""
ROWS = ("dataset", "task", "model", "seed", "fold", "split", "metric", "class", "better", "worse", "ways")
"""Columns that name the rows of a table of a summary, if it has them."""


@dataclass(frozen=True)
class Deviation:
    """A value that is recorded otherwise than it follows."""

    file: str
    where: str
    """The row and column."""
    recorded: str
    computed: str

    def __str__(self) -> str:
        return f"{self.file}: {self.where}: recorded {self.recorded}, computed {self.computed}"


@dataclass
class Deviations:
    """Collects the deviations of all files."""

    values: int = 0
    """Number of values that were compared."""
    found: list[Deviation] = field(default_factory=list)

    def add(self, file: str, where: str, recorded: Any, computed: Any) -> None:
        """Compare two values. Numbers are equal up to `TOLERANCE`, and NaN equals an empty field."""
        self.values += 1
        if not _equal(recorded, computed):
            self.found.append(Deviation(file, where, str(recorded), str(computed)))

    def add_frames(self, file: str, recorded: pd.DataFrame, computed: pd.DataFrame) -> None:
        """Compare the rows of two tables by their index, column by column."""
        for column in dict.fromkeys([*recorded, *computed]):
            self._add_presence(file, f"column {column}", column in recorded, column in computed)
        both = [column for column in recorded if column in computed]
        rows = [_by_key(frame[both]) for frame in (recorded, computed)]
        for key in dict.fromkeys([*rows[0], *rows[1]]):
            where = " ".join(str(part) for part in key if part != "")
            self._add_presence(file, where, key in rows[0], key in rows[1])
            for column, a, b in zip(both, rows[0].get(key, ()), rows[1].get(key, ())):
                self.add(file, f"{where}, {column}", a, b)

    def add_files(self, name: str, recorded: Path, computed: Path) -> None:
        """Compare two files of a summary: tables as CSV, others by line."""
        self._add_presence(name, "the file", recorded.exists(), computed.exists())
        if not (recorded.exists() and computed.exists()):
            return
        if recorded.suffix == ".csv":
            self.add_frames(name, read_table(recorded), read_table(computed))
            return
        texts = (path.read_text(encoding="utf-8", errors="replace") for path in (recorded, computed))
        for number, lines in enumerate(zip_longest(*(text.splitlines() for text in texts)), 1):
            self.add(name, f"line {number}", *lines)

    def _add_presence(self, file: str, where: str, recorded: bool, computed: bool) -> None:
        if recorded != computed:
            words = [("there" if one else "missing") for one in (recorded, computed)]
            self.found.append(Deviation(file, where, *words))


def read_table(path: Path) -> pd.DataFrame:
    """Read a table of a summary as text, with the columns that name its rows as index."""
    try:
        frame = pd.read_csv(path, dtype=str, keep_default_na=False)
    except (OSError, ValueError) as error:
        raise SegbenchError(
            f"cannot be read ({error})", where=path, remedy="call segbench summarise"
        ) from error
    own = [name for name in ROWS if name in frame]
    return frame.set_index(own) if own else frame


def _by_key(frame: pd.DataFrame) -> dict[tuple[Any, ...], tuple[Any, ...]]:
    """Return the rows by their index, and by their number among equal ones."""
    found: dict[tuple[Any, ...], tuple[Any, ...]] = {}
    seen: dict[Any, int] = {}
    for key, *values in frame.itertuples(name=None):
        number = seen[key] = seen.get(key, -1) + 1
        parts = key if isinstance(key, tuple) else (key,)
        found[(*parts, number) if number else parts] = tuple(values)
    return found


def _equal(a: Any, b: Any) -> bool:
    empty = [value is None or value == "" or value != value for value in (a, b)]
    if a == b or any(empty):
        return a == b or all(empty)
    try:
        return math.isclose(float(a), float(b), rel_tol=TOLERANCE, abs_tol=TOLERANCE)
    except (TypeError, ValueError):
        return False
