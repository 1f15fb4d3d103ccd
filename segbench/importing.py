"""Networks and converters are named by Python path in the registries, so there is no list to register in."""

from __future__ import annotations

import importlib
from typing import Any

from segbench.errors import SegbenchError, nearest


def load_object(path: str) -> Any:
    """The object called `package.module:Name`."""
    module_name, _, name = path.partition(":")
    if not name:
        raise SegbenchError(
            f"'{path}' is not of the form package.module:Name", remedy="write `package.module:Name`"
        )
    try:
        module = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        raise SegbenchError(
            f"cannot import '{module_name}' ({error})",
            where=path,
            remedy="check the `class:` or `convert:` key of its entry",
        ) from error
    try:
        return getattr(module, name)
    except AttributeError as error:
        hint = nearest(name, vars(module))
        raise SegbenchError(
            f"'{module_name}' has no '{name}'", where=path, remedy=f"did you mean '{hint}'?" if hint else None
        ) from error
