"""Mistakes in the configuration, collected so that a user sees all of them at once."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, TypeVar, get_args, get_origin

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from segbench.errors import SegbenchError, nearest

Model = TypeVar("Model", bound=BaseModel)


@dataclass(frozen=True)
class Problem:
    """One mistake."""

    where: str
    """File and key, or the recipe of a network on a dataset."""
    what: str

    def __str__(self) -> str:
        return f"{self.where}: {self.what}"


def error_of(problems: Iterable[Problem]) -> SegbenchError:
    """Return the one error that lists all problems, each once."""
    lines = list(dict.fromkeys(map(str, problems)))
    return SegbenchError(
        f"{len(lines)} mistake{'s' * (len(lines) > 1)} in the configuration\n  " + "\n  ".join(lines),
        remedy="fix the lines above and start again; nothing was run",
    )


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Return the end of a message that suggests the nearest known name; empty if none is near."""
    hint = nearest(name, known)
    return f"; did you mean '{hint}'?" if hint else ""


def validate(model: type[Model], raw: Any, source: str, problems: list[Problem]) -> Model | None:
    """Validate raw values against a pydantic model.

    Args:
        source: File or other origin of the values, for the messages.
        problems: Gets one problem for each mistake.

    Returns:
        The model, or None if there is a mistake.
    """
    try:
        return model.model_validate(raw)
    except ValidationError as error:
        problems += [_problem(model, one, source) for one in error.errors()]
        return None


def _problem(model: type[BaseModel], error: ErrorDetails, source: str) -> Problem:
    path = ".".join(map(str, error["loc"]))
    where = f"{source}: {path}" if path else source
    match error["type"]:
        case "extra_forbidden":
            known = _keys_at(model, error["loc"][:-1])
            return Problem(where, "unknown key" + did_you_mean(str(error["loc"][-1]), known))
        case "missing":
            return Problem(where, "missing key")
    what = error["msg"].removeprefix("Value error, ")
    return Problem(where, f"{what} (value: {str(error['input'])[:80]!r})")


def _keys_at(model: type[BaseModel], path: tuple[int | str, ...]) -> list[str]:
    """Return the valid keys of the (nested) model at the location of a pydantic error."""
    current: Any = model
    for part in path:
        if isinstance(part, str) and isinstance(current, type) and issubclass(current, BaseModel):
            found = next((f for n, f in current.model_fields.items() if part in (n, f.alias)), None)
            current = found.annotation if found else None
        while get_origin(current) is not None:  # list[X], dict[str, X], X | None
            current = next((a for a in reversed(get_args(current)) if a is not type(None)), None)
    if isinstance(current, type) and issubclass(current, BaseModel):
        return [f.alias or n for n, f in current.model_fields.items()]
    return []
