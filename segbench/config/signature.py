"""Options that a class or function accepts, read from its source. Nothing is imported or run.

The configuration is checked first, so the check must neither wait for torch nor run a user's module.
"""

from __future__ import annotations

import ast
import collections.abc
import pathlib
import typing
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

import pydantic
import pydantic_core

from segbench.errors import SegbenchError, nearest
from segbench.importing import module_source, tree

ANY_NAME = "**"
"""Key of `Options` if other names may be accepted as well."""
Options = dict[str, "Option"]
NETWORK = "segbench.models.network:Network"
"""The base of all networks."""


@dataclass(frozen=True)
class Option:
    """One option that is accepted."""

    type: Any
    required: bool = False


@dataclass(frozen=True)
class Definition:
    """A class, function or other name at the top level of a module."""

    module: str
    node: ast.AST | None
    """None if it is defined in another way, so that its options are unknown."""


def find(path: str) -> Definition:
    """Find the definition of `package.module:name`. Raises SegbenchError if the module or the name does not
    exist."""
    module, _, name = path.partition(":")
    tree(module)
    found = _lookup(module, name, set())
    if found is None:
        hint = nearest(name, _names(module))
        raise SegbenchError(
            f"module '{module}' has no '{name}'", remedy=f"did you mean '{hint}'?" if hint else None
        )
    return found


@cache
def constructor_options(path: str, given: int) -> Options:
    """Return the options of a constructor, including those of base classes, after its first `given`
    parameters."""
    found = find(path)
    if not isinstance(found.node, ast.ClassDef):
        return {ANY_NAME: Option(Any)}
    return _constructor(found.module, found.node, given + 1, frozenset())


@cache
def model_options(path: str) -> Options:
    """Return the fields of the pydantic model `Options` in a function's module; any name if there is none."""
    module, _, _ = path.partition(":")
    found = _lookup(module, "Options", set())
    if found is None or not isinstance(found.node, ast.ClassDef):
        return {ANY_NAME: Option(Any)}
    return _fields(found.module, found.node, frozenset())


@cache
def is_subclass(path: str, base: str) -> bool | None:
    """Return whether a class descends from another one; None if its source does not say so.

    Args:
        path: `package.module:Class`.
        base: the other class, written in the same way.
    """
    return _descends(find(path), base, frozenset())


def _descends(found: Definition | None, base: str, seen: frozenset[str]) -> bool | None:
    if found is None or not isinstance(found.node, ast.ClassDef):
        return None
    name = f"{found.module}:{found.node.name}"
    if name == base:
        return True
    if name in seen:
        return None
    of_bases = [_descends(one, base, seen | {name}) for one in _bases(found.module, found.node)]
    if True in of_bases:
        return True
    # the bases of a network end at torch's module, which is written as `nn.Module`
    return None if None in of_bases and name != NETWORK else False


def needs(path: str) -> dict[str, str]:
    """Return the dictionary `NEEDS` in the module of a path, extra by package; empty if there is none."""
    for statement in tree(path.partition(":")[0]).body:
        if isinstance(statement, ast.Assign) and "NEEDS" in _bound(statement):
            found = ast.literal_eval(statement.value)
            return {str(package): str(extra) for package, extra in found.items()}
    return {}


def faults(options: Options, values: Mapping[str, Any], *, strict: bool) -> Iterator[tuple[str, str]]:
    """Compare option values with the accepted options.

    Args:
        strict: Refuse values of another type even if they could be converted, such as "3" for a number.

    Yields:
        Key and mistake: unknown and missing names, and values of the wrong type.
    """
    for name, value in values.items():
        option = options.get(name)
        if option is None:
            if ANY_NAME not in options:
                known = sorted(set(options))
                hint = nearest(name, known)
                yield name, "unknown option" + (f"; did you mean '{hint}'?" if hint else _listed(known))
            continue
        adapter = _adapter(option.type)
        if adapter is None:
            continue
        try:
            # as JSON, as YAML has lists instead of tuples
            adapter.validate_json(pydantic_core.to_json(value), strict=strict)
        except pydantic.ValidationError as error:
            for one in error.errors():
                place = ".".join(map(str, (name, *(p for p in one["loc"] if _is_key(value, p)))))
                yield place, f"{one['msg']} (value: {one['input']!r:.80})"
                break
    for name, option in options.items():
        if option.required and name not in values:
            yield name, "missing option"


@cache
def _adapter(kind: Any) -> pydantic.TypeAdapter[Any] | None:
    try:
        return None if kind is Any else pydantic.TypeAdapter(kind)
    except Exception:  # a type that pydantic does not support
        return None


def _is_key(value: Any, part: Any) -> bool:
    """Return whether part of a pydantic location is a key or index, not a branch of a union."""
    return isinstance(part, int) or (isinstance(value, Mapping) and part in value)


def _listed(known: list[str]) -> str:
    return f" (known: {', '.join(known)})" if known else " (there are none)"


def _names(module: str) -> list[str]:
    return [name for statement in tree(module).body for name in _bound(statement)]


def _bound(statement: ast.stmt) -> Iterator[str]:
    if isinstance(statement, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
        yield statement.name
    elif isinstance(statement, ast.Assign | ast.AnnAssign):
        targets = statement.targets if isinstance(statement, ast.Assign) else [statement.target]
        yield from (n.id for t in targets for n in ast.walk(t) if isinstance(n, ast.Name))
    elif isinstance(statement, ast.Import | ast.ImportFrom):
        yield from (alias.asname or alias.name.partition(".")[0] for alias in statement.names)
    elif isinstance(statement, ast.If | ast.Try | ast.With | ast.For | ast.While):
        for child in ast.iter_child_nodes(statement):
            if isinstance(child, ast.stmt):
                yield from _bound(child)
            elif isinstance(child, ast.ExceptHandler):
                for inner in child.body:
                    yield from _bound(inner)


def _lookup(module: str, name: str, seen: set[tuple[str, str]]) -> Definition | None:
    """Find the last top-level definition of a name, following imports; None if there is none."""
    if (module, name) in seen:
        return Definition(module, None)
    seen.add((module, name))
    open_end = False
    for statement in reversed(tree(module).body):
        if isinstance(statement, ast.ImportFrom):
            origin = _absolute(statement, module)
            for alias in statement.names:
                open_end |= alias.name == "*"
                if (alias.asname or alias.name) == name:
                    if module_source(origin) is None:
                        return Definition(module, None)
                    try:
                        return _lookup(origin, alias.name, seen) or Definition(origin, None)
                    except SegbenchError:
                        return Definition(origin, None)
        elif name in _bound(statement):
            whole = isinstance(statement, ast.ClassDef | ast.FunctionDef | ast.Assign | ast.AnnAssign)
            return Definition(module, statement if whole else None)
    return Definition(module, None) if open_end or "__getattr__" in _names(module) else None


def _absolute(statement: ast.ImportFrom, module: str) -> str:
    """Return the name of the module of a `from ... import`."""
    base = statement.module or ""
    if not statement.level:
        return base
    path = module_source(module)
    parts = module.split(".")
    package = parts if path is not None and path.name == "__init__.py" else parts[:-1]
    package = package[: len(package) - statement.level + 1]
    return ".".join([*package, base] if base else package)


def _bases(module: str, node: ast.ClassDef) -> Iterator[Definition | None]:
    for base in node.bases:
        base = base.value if isinstance(base, ast.Subscript) else base
        yield _lookup(module, base.id, set()) if isinstance(base, ast.Name) else None


def _constructor(module: str, node: ast.ClassDef, given: int, seen: frozenset[str]) -> Options:
    if f"{module}:{node.name}" in seen:
        return {ANY_NAME: Option(Any)}
    seen |= {f"{module}:{node.name}"}
    initial = next((s for s in node.body if isinstance(s, ast.FunctionDef) and s.name == "__init__"), None)
    if initial is None:
        if any("dataclass" in ast.dump(d) for d in node.decorator_list):
            return {ANY_NAME: Option(Any)}
        return _of_bases(module, node, given, seen)
    arguments = initial.args
    positional = [*arguments.posonlyargs, *arguments.args]
    required = len(positional) - len(arguments.defaults)
    options = {
        a.arg: Option(_type(module, a.annotation), number < required)
        for number, a in enumerate(positional)
        if number >= given
    }
    options |= {
        a.arg: Option(_type(module, a.annotation), default is None)
        for a, default in zip(arguments.kwonlyargs, arguments.kw_defaults)
    }
    if arguments.kwarg:
        options = _handed_on(module, node, initial, arguments.kwarg.arg, seen) | options
    return options


def _handed_on(
    module: str, node: ast.ClassDef, initial: ast.FunctionDef, rest: str, seen: frozenset[str]
) -> Options:
    """Return the options that `**rest` passes to the constructor of the base class."""
    for call in (n for n in ast.walk(initial) if isinstance(n, ast.Call)):
        splat = any(
            k.arg is None and isinstance(k.value, ast.Name) and k.value.id == rest for k in call.keywords
        )
        of_base = isinstance(call.func, ast.Attribute) and call.func.attr == "__init__"
        if splat and of_base and not any(isinstance(a, ast.Starred) for a in call.args):
            taken = {k.arg for k in call.keywords}
            base = _of_bases(module, node, 1 + len(call.args), seen)
            return {name: option for name, option in base.items() if name not in taken}
    return {ANY_NAME: Option(Any)}


def _of_bases(module: str, node: ast.ClassDef, given: int, seen: frozenset[str]) -> Options:
    first = next(_bases(module, node), None)
    if first is None or not isinstance(first.node, ast.ClassDef):
        return {ANY_NAME: Option(Any)}
    return _constructor(first.module, first.node, given, seen)


def _fields(module: str, node: ast.ClassDef, seen: frozenset[str]) -> Options:
    """Return the fields of a pydantic model and its bases."""
    if f"{module}:{node.name}" in seen:
        return {ANY_NAME: Option(Any)}
    seen |= {f"{module}:{node.name}"}
    options: Options = {}
    for base in reversed(list(_bases(module, node))):
        if base is not None and isinstance(base.node, ast.ClassDef):
            options |= _fields(base.module, base.node, seen)
    forbids = "'forbid'" in "".join(
        ast.dump(s) for s in node.body if isinstance(s, ast.Assign) and "model_config" in _bound(s)
    )
    if not forbids and not options:
        options[ANY_NAME] = Option(Any)
    for statement in node.body:
        if isinstance(statement, ast.AnnAssign) and isinstance(statement.target, ast.Name):
            options[statement.target.id] = Option(
                _type(module, statement.annotation), statement.value is None
            )
    return options


PYDANTIC_TYPES = (
    "Field",
    "FiniteFloat",
    *(f"{sign}{kind}" for kind in ("Int", "Float") for sign in ("Positive", "NonNegative", "Negative")),
)
KNOWN_TYPES: dict[str, Any] = {
    **{kind.__name__: kind for kind in (int, float, str, bool, list, dict, tuple, set, complex)},
    **{name: getattr(typing, name) for name in typing.__all__},
    **{name: getattr(collections.abc, name) for name in collections.abc.__all__},
    **{name: getattr(pydantic, name) for name in PYDANTIC_TYPES},
    "Path": pathlib.Path,
    "None": None,
}


class _Names(dict[str, Any]):
    """Values of the names in an annotation: known types, type aliases of the module, and Any for others."""

    def __init__(self, module: str, depth: int) -> None:
        super().__init__(KNOWN_TYPES)
        self._module, self._depth = module, depth

    def __missing__(self, name: str) -> Any:
        found = _lookup(self._module, name, set()) if self._depth else None
        if found is not None and isinstance(found.node, ast.Assign):
            return _type(found.module, found.node.value, self._depth - 1)
        return Any


def _type(module: str, annotation: ast.expr | None, depth: int = 5) -> Any:
    """Return the type of an annotation; Any if it cannot be evaluated."""
    if annotation is None or (isinstance(annotation, ast.Constant) and isinstance(annotation.value, str)):
        return Any
    try:
        code = compile(ast.Expression(annotation), "<annotation>", "eval")
        return eval(code, {"__builtins__": {}}, _Names(module, depth))
    except Exception:
        return Any
