"""Import of networks and converters by Python path, as entries in `config/` name them."""

from __future__ import annotations

import ast
import importlib
import importlib.util
from functools import cache
from pathlib import Path
from typing import Any

from segbench.errors import SegbenchError, nearest


def load_object(path: str) -> Any:
    """Import and return the object `package.module:Name`. SegbenchError if there is none."""
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


def optional(module: str, extra: str) -> Any:
    """Import a module of an optional extra. SegbenchError that names the extra if it is not installed."""
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        raise SegbenchError(missing(module.partition(".")[0], extra), remedy=install(extra)) from error


def missing(package: str, extra: str) -> str:
    """Return the message for a package of an extra that is not installed."""
    return f"needs the package '{package}' (extra '{extra}'), which is not installed"


def install(extra: str) -> str:
    """Return how to install an extra."""
    return f"pip install 'segbench[{extra}]'"


@cache
def tree(module: str) -> ast.Module:
    """Return the syntax tree of a module. SegbenchError if it is missing or not valid Python."""
    path = module_source(module)
    if path is None:
        raise SegbenchError(f"no module '{module}'", remedy="check its name; it must have a Python file")
    try:
        return ast.parse(path.read_bytes(), filename=str(path))
    except (SyntaxError, ValueError, RecursionError) as error:
        line = f", line {error.lineno}" if isinstance(error, SyntaxError) and error.lineno else ""
        raise SegbenchError(
            f"{path}{line}: is not valid Python ({error})", remedy="fix the module"
        ) from error


@cache
def module_source(module: str) -> Path | None:
    """Return the file of a module, or None. Imports nothing: importlib would import the parent packages."""
    top, *rest = module.split(".")
    try:
        spec = importlib.util.find_spec(top)
    except (ImportError, ValueError):
        return None
    if spec is None:
        return None
    if not rest:
        return Path(spec.origin) if spec.origin and spec.origin.endswith(".py") else None
    # a namespace package has several folders and no file
    for folder in spec.submodule_search_locations or []:
        base = Path(folder, *rest)
        for path in (base / "__init__.py", base.with_name(f"{base.name}.py")):
            if path.is_file():
                return path
    return None
