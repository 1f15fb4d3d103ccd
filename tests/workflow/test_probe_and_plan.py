"""`segbench probe`, and plans with and without probes."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from tiny_project import CONFIG, Project, make_project
from warm_server import WarmServer

pytestmark = pytest.mark.xdist_group("probe")


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory, warm: WarmServer) -> Project:
    """A project in which nothing has run."""
    project = make_project(tmp_path_factory.mktemp("project"), warm)
    small = {"models": ["toy"], "recipe": {"augment": {"crop": [32, 32]}}}
    project.config(overrides=[*CONFIG["overrides"], small])
    return project


@pytest.fixture(scope="module")
def plans(project: Project) -> tuple[str, str, str]:
    """A plan before the probes, what the probes print, and a plan after them."""
    before = project.segbench("plan", "--configfile", "tiny.yaml", "--price", "2.5")
    probes = project.segbench("probe", "--configfile", "tiny.yaml")
    return before, probes, project.segbench("plan", "--configfile", "tiny.yaml")


def test_a_plan_of_a_clean_tree_is_estimated(plans: tuple[str, str, str]) -> None:
    text = plans[0]
    assert re.search(r"toy/toy/seed0: train: new \(0:00:\d\d\) estimated", text)
    total = next(line.split() for line in text.splitlines() if line.split()[:1] == ["total"])
    assert total[1] == "4" and total[-1] == "estimated"  # two networks on two datasets
    assert "price" in text and "not converted yet, sizes are assumed" in text and "toy, vessels" in text
    assert "measured" not in text and " probe" not in text


def test_probes_run_once_for_each_network(project: Project, plans: tuple[str, str, str]) -> None:
    table = plans[1]
    assert re.search(r"Toy +32 x 32 +2 ", table) and re.search(r"UNet +32 x 32 +2 ", table)
    files = sorted((project.root / "results/probes").glob("*.json"))
    assert len(files) == 2
    assert {json.loads(f.read_text())["steps"] for f in files} == {10}
    again = project.snakemake("--dry-run", "probes")
    assert "Nothing to be done" in again.stdout + again.stderr


def test_a_plan_after_a_probe_says_so(plans: tuple[str, str, str]) -> None:
    text = plans[2]
    assert re.search(r"toy/toy/seed0: train: new \(0:00:\d\d\) probe", text)
    assert "estimated" not in text.replace("estimated from finished cells", "")


def test_a_gpu_by_name_is_estimated_with_its_energy(project: Project, plans: tuple[str, str, str]) -> None:
    text = project.segbench("plan", "--configfile", "tiny.yaml", "--on", "a100")
    assert "as on A100" in text and "kWh" in text and "400 W" in text and "estimated" in text
    wrong = project.run("segbench", "plan", "--configfile", "tiny.yaml", "--on", "z9")
    assert wrong.returncode == 1 and "not in the table of devices" in wrong.stderr


def test_probes_are_no_part_of_a_run(project: Project) -> None:
    assert "probe" not in project.jobs()
    assert not list(Path(project.root, "results").glob("tiny/cells"))
