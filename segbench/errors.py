"""The one error that a user is meant to read."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pydantic import ValidationError


class SegbenchError(Exception):
    """A fault that the user can mend: what is wrong, where (file or key), and what to do.

    The command line prints it without a traceback and exits with status 1; anything else that is raised
    is a defect of segbench and keeps its traceback.
    """

    def __init__(self, what: str, *, where: str | Path | None = None, remedy: str | None = None) -> None:
        self.what, self.where, self.remedy = what, where, remedy
        message = f"{where}: {what}" if where is not None else what
        super().__init__(f"{message}\n  remedy: {remedy}" if remedy else message)


class OutOfMemory(SegbenchError):
    """A device or the machine ran out of memory; recorded as a status of its own."""


def nearest(name: str, known: Iterable[str]) -> str | None:
    """The known name closest in spelling to `name`, or None when nothing is close."""
    found = difflib.get_close_matches(str(name), list(known), n=1, cutoff=0.6)
    return found[0] if found else None


def first_fault(error: ValidationError) -> str:
    """What pydantic found first, and where in the value."""
    first = error.errors()[0]
    place = ".".join(map(str, first["loc"]))
    return f"{first['msg']} at {place}" if place else first["msg"]
