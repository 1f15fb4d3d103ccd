from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

SEGBENCH = Path(sys.executable).with_name("segbench")


def segbench(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([SEGBENCH, *arguments], capture_output=True, text=True, check=False)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["fetch", "a.zip", "--out", "a", "--record", "r", "--spec", "{"], "--spec: is not valid JSON"),
        (
            ["fetch", "a.zip", "--out", "a", "--record", "r", "--spec", '{"ulr": "x"}'],
            "error: --spec: ulr: Extra",
        ),
        (["summarise", "no.json", "--out", "s"], "no.json: cannot be read (No such file"),
    ],
)
def test_bad_input_is_one_message_without_a_traceback(
    arguments: list[str], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    result = segbench(*arguments)
    assert result.returncode == 1
    assert message in result.stderr and "Traceback" not in result.stderr
    assert not list(tmp_path.iterdir())


def test_help_lists_every_step() -> None:
    text = segbench("--help").stdout
    steps = "fetch convert lint train predict evaluate controls summarise report score"
    for step in steps.split():
        assert f" {step} " in text


LIGHT = (
    "cli config.resolve jobs.plan evaluation.runner.controls evaluation.runner.evaluate "
    "evaluation.runner.score data.lint.dataset data.sources.fetch prediction.controls "
    "prediction.runner.origin report.status"
)


@pytest.mark.parametrize(
    ("modules", "unwanted"),
    [
        (LIGHT, "torch matplotlib pandas scipy snakemake"),
        ("data.convert report.summarise", "torch matplotlib snakemake"),
        ("training.runner.train prediction.runner.predict", "matplotlib pandas pyarrow snakemake timm"),
    ],
)
def test_steps_import_only_what_they_need(modules: str, unwanted: str) -> None:
    """Every step is a separate process, so each unneeded import costs its time again."""
    names = ", ".join(f"segbench.{module}" for module in modules.split())
    code = f"import sys, {names}; found = set({unwanted.split()}) & set(sys.modules); assert not found, found"
    subprocess.run([sys.executable, "-c", code], check=True)
