"""Faults of many files, reported together."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TypeVar

from segbench.errors import SegbenchError

T = TypeVar("T")
SHOWN = 20
"""Faults that the message names."""
MOST = 1000
"""After so many there is no use in looking further."""


class Faults:
    """Collects errors, and raises one that lists them; a single one is raised as it is."""

    def __init__(self) -> None:
        self._found: list[SegbenchError] = []

    def add(self, *errors: SegbenchError) -> None:
        self._found += errors
        if len(self._found) >= MOST:
            self.raise_if_any()

    def including(self, values: Iterable[T]) -> Iterator[T]:
        """The values; an error that ends them comes after those that were found before."""
        try:
            yield from values
        except SegbenchError as error:
            self.add(error)
            self.raise_if_any()

    def raise_if_any(self) -> None:
        if not self._found:
            return
        if len(self._found) == 1:
            raise self._found[0]
        lines = [f"  {e.where}: {e.what}" if e.where else f"  {e.what}" for e in self._found[:SHOWN]]
        if len(self._found) > SHOWN:
            lines.append(f"  and {len(self._found) - SHOWN} more")
        raise SegbenchError(
            f"{len(self._found)} faults in the annotations:\n" + "\n".join(lines),
            remedy="; ".join(dict.fromkeys(e.remedy for e in self._found[:SHOWN] if e.remedy)) or None,
        )
