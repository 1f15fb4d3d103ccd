"""What Snakemake resolves from the profiles."""

from __future__ import annotations

import pytest
import yaml
from snakemake.cli import parse_args
from tiny_project import ROOT

from segbench import quota
from segbench.config.schema import RunConfig


def keys(name: str) -> set[str]:
    return set(yaml.safe_load((ROOT / "profiles" / name / "profile.yaml").read_text()))


def test_no_key_of_the_slurm_profile_is_overridden() -> None:
    """Snakemake lets the workflow's own profile win over one that is named."""
    assert not keys("slurm") & (keys("default") | keys("strict") | keys("gpu"))


def test_a_rented_machine_has_what_its_quota_allows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    monkeypatch.setattr(quota, "processors", lambda: 3)
    monkeypatch.setattr(quota, "memory_mb", lambda: 7000)
    _, args = parse_args(["--workflow-profile", "gpu"])
    assert args.cores == 3
    assert {name: resource.value for name, resource in args.resources.items()} == {"gpu": 1, "mem_mb": 7000}
    assert keys("default") <= keys("gpu")


def test_the_keys_of_a_rented_machine_are_valid(monkeypatch: pytest.MonkeyPatch) -> None:
    machine = yaml.safe_load((ROOT / "profiles/gpu/machine.yaml").read_text())
    run = RunConfig.model_validate({"datasets": [], "models": [], **machine})
    folders = (run.results, run.data, run.archives, run.weights)
    assert all(folder.startswith("/data/") for folder in folders) and not run.keep_archives


@pytest.mark.parametrize("workflow_profile", ["default", "strict", "gpu"])
@pytest.mark.parametrize("profile", [[], ["--profile", "profiles/slurm"]])
def test_the_scheduler_looks_seldom_and_no_lock_outlives_a_kill(
    workflow_profile: str, profile: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(ROOT)
    _, args = parse_args([*profile, "--workflow-profile", workflow_profile])
    assert (args.max_jobs_per_timespan.max_jobs, args.max_jobs_per_timespan.timespan) == (1000, 60)
    assert args.nolock and args.rerun_incomplete
    if profile:
        assert (args.executor, args.jobs, args.retries, args.latency_wait) == ("slurm", 100, 3, 60)
