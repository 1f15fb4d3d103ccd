"""Errors that the user can fix."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pydantic import ValidationError


class SegbenchError(Exception):
    """An error that the user can fix.

    The command line prints it without a traceback and exits with status 1. Any other exception is a bug in
    segbench and keeps its traceback.

    Args:
        what: what is wrong.
        where: the file, key or dataset that the message names first.
        remedy: what the user can do.
    """

    def __init__(self, what: str, *, where: str | Path | None = None, remedy: str | None = None) -> None:
        self.what, self.where, self.remedy = what, where, remedy
        message = f"{where}: {what}" if where is not None else what
        super().__init__(f"{message}\n  remedy: {remedy}" if remedy else message)


class OutOfMemory(SegbenchError):
    """A device or the machine ran out of memory. Cells record this as a separate status."""


class DeviceOutOfMemory(OutOfMemory):
    """A GPU ran out of its own memory. More memory of the machine would not help."""


def nearest(name: str, known: Iterable[str]) -> str | None:
    """Return the known name that is closest in spelling to `name`, or None if none is close."""
    found = difflib.get_close_matches(str(name), list(known), n=1, cutoff=0.6)
    return found[0] if found else None


def first_fault(error: ValidationError) -> str:
    """Return pydantic's first message and the key that it is about."""
    first = error.errors()[0]
    place = ".".join(map(str, first["loc"]))
    return f"{first['msg']} at {place}" if place else first["msg"]
