"""Predictions of another program in one table with a network that the run trains."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image
from tiny_project import make_project
from warm_server import WarmServer

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("pipeline")]


def test_an_external_row(tmp_path: Path, warm: WarmServer) -> None:
    project = make_project(tmp_path, warm)
    entry = {
        "title": "Elsewhere",
        "card": "Halves.",
        "external": {
            "path": "elsewhere/{dataset}",
            "format": "label_maps",
            "costs": {"parameters": 1234},
        },
    }
    (tmp_path / "config/models/elsewhere.yaml").write_text(yaml.safe_dump(entry))
    project.config(datasets=["toy"], models=["toy", "elsewhere"], score_splits=["train", "test"])
    refused = project.snakemake("--dry-run")
    assert refused.returncode and "elsewhere/toy does not exist" in refused.stdout + refused.stderr
    folder = tmp_path / "elsewhere/toy"
    folder.mkdir(parents=True)
    for number in range(2):
        truth = np.zeros((24, 32), np.uint8)
        truth[:, : 8 + 2 * number] = 1
        Image.fromarray(truth).save(folder / f"{number}.png")
    planned = project.segbench("plan", "--configfile", "tiny.yaml")
    assert "toy/elsewhere/seed0: external: new" in planned
    result = project.snakemake()
    assert result.returncode == 0, result.stdout + result.stderr
    table = (tmp_path / "results/tiny/summary/tables/toy_semantic.md").read_text()
    row = next(line for line in table.splitlines() if line.startswith("| Elsewhere (external)"))
    assert "**1.000**" in row and "| 1.2 k |" in row
    assert "External: predictions of another program" in table
    assert "Elsewhere (external)" in (tmp_path / "results/tiny/report/index.html").read_text()
    assert "| Elsewhere (external) |" in project.segbench("overview", "results/tiny")
    assert "3 cells: 3 ok" in project.segbench("status", "results/tiny")
    assert project.jobs() == {}

    with (tmp_path / "results/tiny/summary/cells.csv").open() as file:
        cells = {row["model"]: row for row in csv.DictReader(file)}
    assert cells["elsewhere"]["external"] == "True" and cells["toy"]["external"] in ("", "False")

    (folder / "notes.txt").write_text("of no meaning")
    entry["external"]["costs"] = {"parameters": 99}
    (tmp_path / "config/models/elsewhere.yaml").write_text(yaml.safe_dump(entry))
    assert project.jobs() == {"summarise": 1, "report": 1}
    Image.fromarray(np.zeros((24, 32), np.uint8)).save(folder / "0.png")
    assert project.jobs() == {"external": 1, "summarise": 1, "report": 1}
