"""Fingerprint of the code that a step runs: executable changes alter it, comments and docstrings do not.

Snakemake sees neither an edit inside an imported package nor that an edit was only a comment. So every rule
passes the fingerprint of its step as a param, and the `code` trigger is off.
"""

from __future__ import annotations

import ast
import hashlib
import importlib.util
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from segbench.errors import SegbenchError


@cache
def fingerprint(*modules: str) -> str:
    """Hash over the named modules and all that they import, directly or not, from their own packages.

    Imports are followed statically (also those inside functions), within `segbench` and within the top-level
    packages of the named modules.
    """
    packages = {"segbench", *(name.partition(".")[0] for name in modules)}
    seen: set[str] = set()
    todo = list(modules)
    while todo:
        name = todo.pop()
        if name not in seen:
            seen.add(name)
            todo += [i for i in _read(name)[1] if i.partition(".")[0] in packages and module_source(i)]
    digest = hashlib.sha256()
    for name in sorted(seen):
        digest.update(f"{name}={_read(name)[0]};".encode())
    return digest.hexdigest()[:16]


@cache
def _read(module: str) -> tuple[str, tuple[str, ...]]:
    """(hash of the module's code, modules that it names in imports)."""
    code = tree(module)
    path = module_source(module)
    assert path is not None
    imports = tuple(sorted(set(_imports(code, module, path.name == "__init__.py"))))
    return hashlib.sha256(ast.dump(_without_docstrings(code)).encode()).hexdigest(), imports


@cache
def tree(module: str) -> ast.Module:
    """The syntax of a module. Raises SegbenchError where there is none or it cannot be read."""
    path = module_source(module)
    if path is None:
        raise SegbenchError(f"no module '{module}'", remedy="check its name; it must have a Python file")
    try:
        return ast.parse(path.read_bytes(), filename=str(path))
    except (SyntaxError, ValueError, RecursionError) as error:
        line = f", line {error.lineno}" if isinstance(error, SyntaxError) and error.lineno else ""
        raise SegbenchError(f"{path}{line}: is no valid Python ({error})", remedy="fix the module") from error


@cache
def module_source(module: str) -> Path | None:
    """The module's file, found without importing anything (importlib would import the parents)."""
    top, *rest = module.split(".")
    try:
        spec = importlib.util.find_spec(top)
    except (ImportError, ValueError):
        return None
    if spec is None:
        return None
    if not rest:
        return Path(spec.origin) if spec.origin and spec.origin.endswith(".py") else None
    # several folders, and no file, where it is a namespace package
    for folder in spec.submodule_search_locations or []:
        base = Path(folder, *rest)
        for path in (base / "__init__.py", base.with_name(f"{base.name}.py")):
            if path.is_file():
                return path
    return None


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
            # a string on its own does nothing, wherever it stands (attribute docstrings too)
            node.body = [
                s for s in body if not (isinstance(s, ast.Expr) and isinstance(s.value, ast.Constant))
            ] or [ast.Pass()]
    return tree
