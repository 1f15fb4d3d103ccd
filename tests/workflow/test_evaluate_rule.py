"""What the scoring jobs ask for."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from tiny_project import make_project
from warm_server import WarmServer

pytestmark = pytest.mark.xdist_group("pipeline")  # its worker has the server


@pytest.mark.parametrize(("threads", "cores", "expected"), [(2, 2, 2), (2, 1, 1)])
def test_scoring_starts_as_many_processes_as_it_has_threads(
    tmp_path: Path, warm: WarmServer, threads: int, cores: int, expected: int
) -> None:
    project = make_project(tmp_path, warm)
    project.config(threads=threads, datasets=["toy"], models=["toy"], controls=[])
    result = project.snakemake("--dry-run", "--printshellcmds", "--cores", str(cores))
    assert result.returncode == 0, result.stdout + result.stderr
    commands = re.findall(r"segbench evaluate .*", result.stdout + result.stderr)
    assert len(commands) == 1 and f" --threads {expected} " in commands[0]
