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
            todo += [i for i in _read(name)[1] if i.partition(".")[0] in packages and _source(i)]
    digest = hashlib.sha256()
    for name in sorted(seen):
        digest.update(f"{name}={_read(name)[0]};".encode())
    return digest.hexdigest()[:16]


@cache
def _read(module: str) -> tuple[str, tuple[str, ...]]:
    """(hash of the module's code, modules that it names in imports)."""
    path = _source(module)
    if path is None:
        raise SegbenchError(
            f"no module '{module}'", remedy="check the `class:` or `convert:` key of its entry"
        )
    tree = ast.parse(path.read_text(encoding="utf-8"), filename=str(path))
    imports = tuple(sorted(set(_imports(tree, module, path.name == "__init__.py"))))
    return hashlib.sha256(ast.dump(_without_docstrings(tree)).encode()).hexdigest(), imports


@cache
def _source(module: str) -> Path | None:
    """The module's file, found without importing anything (importlib would import the parents)."""
    top, *rest = module.split(".")
    try:
        spec = importlib.util.find_spec(top)
    except (ImportError, ValueError):
        return None
    if spec is None or spec.origin is None or not spec.origin.endswith(".py"):
        return None
    path = Path(spec.origin)
    if rest:
        base = path.parent.joinpath(*rest)
        path = next((p for p in (base.with_suffix(".py"), base / "__init__.py") if p.is_file()), Path())
    return path if path.name else None


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
