"""Collect the errors of many files, to report them together."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TypeVar

from segbench.errors import SegbenchError

T = TypeVar("T")
SHOWN = 20
"""Number of errors that the message lists."""
MOST = 1000
"""Number of errors after which `Faults` stops collecting and raises."""


class Faults:
    """Collects errors and raises them as one that lists them. A single error is raised unchanged."""

    def __init__(self) -> None:
        self._found: list[SegbenchError] = []

    def add(self, *errors: SegbenchError) -> None:
        """Collect errors; raise when there are `MOST`."""
        self._found += errors
        if len(self._found) >= MOST:
            self.raise_if_any()

    def including(self, values: Iterable[T]) -> Iterator[T]:
        """Yield the values. If their iterator raises SegbenchError, raise it with the errors so far."""
        try:
            yield from values
        except SegbenchError as error:
            self.add(error)
            self.raise_if_any()

    def raise_if_any(self) -> None:
        """Raise one SegbenchError for all errors so far."""
        if not self._found:
            return
        if len(self._found) == 1:
            raise self._found[0]
        lines = [f"  {e.where}: {e.what}" if e.where else f"  {e.what}" for e in self._found[:SHOWN]]
        if len(self._found) > SHOWN:
            lines.append(f"  and {len(self._found) - SHOWN} more")
        raise SegbenchError(
            f"{len(self._found)} errors in the annotations:\n" + "\n".join(lines),
            remedy="; ".join(dict.fromkeys(e.remedy for e in self._found[:SHOWN] if e.remedy)) or None,
        )
