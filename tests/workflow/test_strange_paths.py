"""A whole run with folders whose names a shell, a pattern or an old encoding would trip over."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest
from tiny_project import make_project
from warm_server import WarmServer

pytestmark = pytest.mark.xdist_group("pipeline")

NAME = 'it\'s “größer” $HOME & [a]*? "b"; 图'


def test_every_folder_may_be_named_strangely(tmp_path: Path, warm: WarmServer) -> None:
    project = make_project(tmp_path / f"project {NAME}", warm)
    folders = {key: f"{key} {NAME}" for key in ("results", "data", "archives", "weights", "mirror")}
    (project.root / folders["mirror"]).mkdir()
    (project.root / folders["mirror"] / "SHA256SUMS").touch()
    own = project.root / f"own {NAME}"
    (project.root / "toy_folder").rename(own)
    options = {"vessels": {"size": [64, 64], "images": {"train": 4, "test": 2}}, "toy": {"folder": own.name}}
    project.config(**folders, datasets=["toy"], models=["toy"], dataset_options={"toy": options["toy"]})
    result = project.snakemake()
    assert result.returncode == 0, result.stdout + result.stderr
    scores = pd.read_csv(project.root / folders["results"] / "tiny/summary/scores.csv")
    assert set(scores.model) == {"toy", "control_constant"}
    assert (project.root / folders["data"] / "toy/dataset.json").exists()
    assert not (project.root / "results").exists()
    assert project.jobs() == {}
