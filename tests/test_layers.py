"""The packages form layers: an import leads to the same layer or to a lower one, and never in a circle."""

from __future__ import annotations

import ast
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1] / "segbench"
LAYERS = [
    {"copying", "errors", "files", "importing", "quota", "units", "__init__"},
    {"contract"},
    {"fitting"},
    {"config"},
    {"jobs"},
    {"data"},
    {"models"},
    {"training"},
    {"prediction"},
    {"probe"},
    {"evaluation"},
    {"exchange"},
    {"comparison"},
    {"report"},
    {"runs"},
    {"catalogue"},
    {"adopt"},
    {"cli"},
]
"""From the lowest to the highest; a package may import from those above it in this list."""


def _modules() -> dict[str, Path]:
    found = {}
    for path in ROOT.rglob("*.py"):
        parts = ("segbench", *path.relative_to(ROOT).with_suffix("").parts)
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


MODULES = _modules()


def _imports(module: str) -> set[str]:
    """Modules of segbench that a module imports, also inside functions and for type checking."""
    found = set()
    for node in ast.walk(ast.parse(MODULES[module].read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            names = [f"{node.module}.{alias.name}" for alias in node.names]
            names = [name if name in MODULES else node.module for name in names]
        else:
            continue
        found.update(name for name in names if name in MODULES)
    return found - {module}


GRAPH = {module: _imports(module) for module in MODULES}


def _layer(module: str) -> int:
    room = module.split(".")[1] if "." in module else "__init__"
    return next(number for number, rooms in enumerate(LAYERS) if room in rooms)


def test_every_module_has_a_layer() -> None:
    rooms = {module.split(".")[1] for module in MODULES if "." in module}
    assert rooms == set().union(*LAYERS) - {"__init__"}


def test_nothing_imports_upwards() -> None:
    upwards = {(a, b) for a, imports in GRAPH.items() for b in imports if _layer(b) > _layer(a)}
    assert not upwards


def test_no_module_imports_itself_through_others() -> None:
    TopologicalSorter(GRAPH).prepare()  # raises CycleError, which names the circle


@pytest.mark.parametrize("step", ["training", "prediction", "evaluation"])
def test_a_core_does_not_import_its_runner(step: str) -> None:
    wrong = {
        (a, b)
        for a, imports in GRAPH.items()
        for b in imports
        if b.startswith(f"segbench.{step}.runner") and ".runner" not in a and a != "segbench.cli"
    }
    assert not wrong
