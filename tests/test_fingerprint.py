from __future__ import annotations

import sys
from pathlib import Path

import pytest

from segbench import fingerprint as module
from segbench.errors import SegbenchError
from segbench.fingerprint import fingerprint


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """A package with a network that imports a helper, and a function that writes one of its files."""
    monkeypatch.syspath_prepend(str(tmp_path))
    folder = tmp_path / "nets"
    folder.mkdir()
    (folder / "__init__.py").touch()

    def write(**files: str) -> str:
        for name, text in files.items():
            (folder / f"{name}.py").write_text(text)
        fingerprint.cache_clear()
        module._read.cache_clear()
        module.tree.cache_clear()
        module.module_source.cache_clear()
        sys.path_importer_cache.clear()
        return fingerprint("nets.toy")

    write(toy="import torch\nfrom nets import helper\nx = helper.f(1)\n", helper="def f(a):\n    return a\n")
    yield write
    fingerprint.cache_clear()
    module._read.cache_clear()
    module.tree.cache_clear()
    module.module_source.cache_clear()


def test_comments_docstrings_and_layout_change_nothing(package) -> None:
    before = package()
    after = package(
        toy='"""Doc."""\n# comment\nimport torch\nfrom nets import helper\nx = helper.f(\n    1\n)  # same\n',
        helper='def f(a):\n    """Doc."""\n    return a\n',
    )
    assert after == before


def test_an_edit_of_code_here_or_in_an_import_changes_it(package) -> None:
    first = package()
    second = package(toy="import torch\nfrom nets import helper\nx = helper.f(2)\n")
    third = package(helper="def f(a):\n    return a + 1\n")
    assert len({first, second, third}) == 3


@pytest.mark.parametrize("line", ["from . import helper", "from .helper import f", "import nets.helper"])
def test_every_form_of_import_is_followed(package, line: str) -> None:
    before = package(toy=line + "\n")
    assert package(helper="def f(a):\n    return a * 7\n") != before


def test_imports_inside_functions_count(package) -> None:
    before = package(toy="def g():\n    from nets.helper import f\n    return f\n")
    assert package(helper="y = 5\n") != before


def test_unrelated_modules_do_not_count(package) -> None:
    assert package() == package(other="z = 1\n")


def test_steps_do_not_depend_on_each_other() -> None:
    """The rerun rules rest on this: a metric must not retrain, a plot must not evaluate."""
    closure = _closure("segbench.training.train")
    assert not [
        m for m in closure if m.startswith(("segbench.evaluation", "segbench.report", "segbench.config"))
    ]
    assert not [m for m in closure if m.startswith("segbench.data.converters")]
    closure = _closure("segbench.evaluation.evaluate")
    assert not [
        m for m in closure if m.startswith(("segbench.models", "segbench.training", "segbench.report"))
    ]


def _closure(name: str) -> set[str]:
    seen: set[str] = set()
    todo = [name]
    while todo:
        if (one := todo.pop()) not in seen:
            seen.add(one)
            todo += [i for i in module._read(one)[1] if i.startswith("segbench") and module.module_source(i)]
    return seen


def test_unknown_module_is_named() -> None:
    with pytest.raises(SegbenchError, match=r"no module 'segbench\.models\.unett'"):
        fingerprint("segbench.models.unett")
