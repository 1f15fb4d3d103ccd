"""The tables of a bundle, typeset by LaTeX itself."""

from __future__ import annotations

import json
import shutil
import subprocess
import zipfile
from pathlib import Path

import pytest
from edited import edit

from segbench.contract.run import RunDescription
from segbench.runs.bundle import bundle

REGISTRY = Path(__file__).parents[2] / "config"
HOSTILE = r"a_b & 50% #1 $x$ ~y^2 \z {q} é – ±"


def test_all_tables_are_typeset_and_none_is_wider_than_the_page(run: Path, tmp_path: Path) -> None:
    if shutil.which("pdflatex") is None:
        pytest.skip("pdflatex is not installed (Debian: texlive-latex-recommended)")
    models = json.loads((run / "run.json").read_text())["models"]
    models["unet"]["title"] = HOSTILE + " and more words than a table has room for" * 3
    edit(run / "run.json", models=models)
    bundle(RunDescription.read(run / "run.json"), tmp_path / "a.zip", REGISTRY)
    with zipfile.ZipFile(tmp_path / "a.zip") as archive:
        archive.extractall(tmp_path / "a")
    command = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "tables.tex"]
    done = subprocess.run(command, cwd=tmp_path / "a/latex", capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-2000:]
    assert "Overfull" not in done.stdout and (tmp_path / "a/latex/tables.pdf").stat().st_size > 10_000
