"""Fingerprint of the code that decides a step's results: executable changes alter it, comments do not.

Snakemake does not notice an edit inside an imported package, and cannot tell that an edit changes only a
comment. Therefore every rule passes the fingerprint of its step as a param, and the `code` trigger is off.

Code that decides no result does not count (logs, locks, signals, devices, progress, files, downloads). A step
is named by its core module, and imports of the modules in `AROUND` are not followed.
"""

from __future__ import annotations

import ast
import hashlib
import json
import sys
from collections.abc import Iterator
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

from segbench.files import write_json
from segbench.importing import module_source, tree

AROUND = ("errors", "files", "importing", "units", "jobs", "data.sources")
"""Modules and packages of segbench that decide no result. Packages called `runner` do not either."""
KNOWN = Path(".snakemake/segbench/code.json")
"""What was read of each file, by its content: reading all modules takes longer than the rest of a dry run."""


class _Module(NamedTuple):
    digest: str
    """Hash of the code, without comments and docstrings."""
    imports: list[str]
    """Modules that its imports name, and `module.name` for each name that is imported from a module."""
    has_code: bool


@cache
def fingerprint(*modules: str) -> str:
    """Hash the code of the named modules and of all modules that they import, see `covered`.

    Returns:
        16 hexadecimal digits.
    """
    digest, known = hashlib.sha256(), len(_known())
    for name in covered(*modules):
        digest.update(f"{name}={_read(name).digest};".encode())
    if len(_known()) > known and KNOWN.parents[1].is_dir():  # a folder in which Snakemake runs
        write_json(KNOWN, _known())
    return digest.hexdigest()[:16]


def covered(*modules: str) -> list[str]:
    """List the names of the modules that a fingerprint covers, sorted.

    Imports are followed statically, including imports inside functions, within `segbench` and the top-level
    packages of the named modules. Packages without code are not listed.
    """
    packages = {"segbench", *(name.partition(".")[0] for name in modules)}
    seen: set[str] = set()
    todo = list(modules)
    while todo:
        name = todo.pop()
        if name not in seen:
            seen.add(name)
            todo += [
                found
                for found in _read(name).imports
                if found.partition(".")[0] in packages and not _is_around(found) and module_source(found)
            ]
    return sorted(name for name in seen if _read(name).has_code)


def _is_around(module: str) -> bool:
    names = [f"segbench.{name}" for name in AROUND]
    inside = any(module == name or module.startswith(f"{name}.") for name in names)
    return inside or module == "segbench" or (module.startswith("segbench.") and ".runner" in module)


@cache
def _known() -> dict[str, Any]:
    try:
        found = json.loads(KNOWN.read_bytes())
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


@cache
def _read(module: str) -> _Module:
    path = module_source(module)
    if path is None:
        tree(module)  # raises the error
    assert path is not None
    key = _key(module, path)
    with suppress(KeyError, TypeError):
        return _Module(*_known()[key])
    code = tree(module)
    imports = sorted(set(_imports(code, module, path.name == "__init__.py")))
    has_code = any(not isinstance(s, ast.Expr | ast.Pass) for s in code.body)
    digest = hashlib.sha256(ast.dump(_without_docstrings(code)).encode()).hexdigest()
    found = _known()[key] = _Module(digest, imports, has_code)
    return found


def _key(module: str, path: Path) -> str:
    """Hash all that decides what `_read` returns: the module's name and file, this code, and the Python."""
    parts = (module.encode(), path.name.encode(), sys.version.encode(), path.read_bytes(), _own_code())
    return hashlib.sha256(b"\0".join(hashlib.sha256(part).digest() for part in parts)).hexdigest()


@cache
def _own_code() -> bytes:
    return Path(__file__).read_bytes()


def _imports(tree: ast.Module, module: str, is_package: bool) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield alias.name
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                parents = module.split(".")[: len(module.split(".")) - node.level + is_package]
                base = ".".join([*parents, base] if base else parents)
            yield base
            for alias in node.names:  # `from package import module`
                yield f"{base}.{alias.name}"


def _without_docstrings(tree: ast.Module) -> ast.Module:
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            body = node.body
            # a string that is a statement does nothing: docstrings of functions, classes and attributes
            node.body = [
                s for s in body if not (isinstance(s, ast.Expr) and isinstance(s.value, ast.Constant))
            ] or [ast.Pass()]
    return tree
