"""A run whose dataset must be placed by hand, and is not there."""

from __future__ import annotations

from pathlib import Path

from tiny_project import make_project
from warm_server import WarmServer


def test_a_missing_dataset_is_shown_and_the_rest_runs(tmp_path: Path, warm: WarmServer) -> None:
    project = make_project(tmp_path / "project", warm)
    project.config(datasets=["toy", "drive"], models=["toy"])
    shown = "drive: missing: place DRIVE.zip at results/archives/DRIVE.zip (Register at https://drive.grand"
    assert shown in project.segbench("plan", "--configfile", "tiny.yaml")
    result = project.snakemake()
    assert result.returncode == 0, result.stderr
    assert shown in result.stderr
    assert shown in project.segbench("status", "results/tiny")
    page = (project.root / "results/tiny/report/index.html").read_text()
    assert "Missing datasets" in page and "place DRIVE.zip at results/archives/DRIVE.zip" in page

    (project.root / "results/archives").mkdir()
    (project.root / "results/archives/DRIVE.zip").touch()  # not looked into before the run
    assert project.jobs()["convert_dataset"] == 1
