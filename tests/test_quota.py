from __future__ import annotations

import shutil
from collections import namedtuple
from pathlib import Path

import psutil
import pytest

from segbench import quota

Usage = namedtuple("Usage", "total used free")


@pytest.mark.parametrize(
    ("limit", "found"), [("4294967296\n", 3294), ("max\n", 63000), ("9223372036854771712\n", 63000)]
)
def test_memory_is_the_quota_if_there_is_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, limit: str, found: int
) -> None:
    (tmp_path / "memory.max").write_text(limit)
    monkeypatch.setattr(quota, "MEMORY_LIMITS", (tmp_path / "memory.max", tmp_path / "other"))
    monkeypatch.setattr(psutil, "virtual_memory", lambda: namedtuple("M", "total")(64 * 10**9))
    assert quota.memory_mb() == found


@pytest.mark.parametrize(
    ("limit", "found"),
    [("5000", 5000 - 3000 + 700), ("3100", 800), ("2000", 0), ("100000", 9000), ("max", 9000)],
)
def test_free_memory_is_what_the_quota_leaves(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, limit: str, found: int
) -> None:
    (tmp_path / "memory.max").write_text(f"{limit}\n")
    (tmp_path / "memory.current").write_text("3000\n")
    (tmp_path / "memory.stat").write_text("anon 1000\ninactive_file 700\n")
    monkeypatch.setattr(quota, "FREE", ((tmp_path / "memory.max", "memory.current", "inactive_file"),))
    monkeypatch.setattr(psutil, "virtual_memory", lambda: namedtuple("M", "available")(9000))
    assert quota.free_memory() == found


@pytest.mark.parametrize(
    ("processors", "shared", "workers"),
    [(16, 64 * 10**9, 8), (4, 64 * 10**9, 3), (1, 64 * 10**9, 0), (16, 64 * 2**20, 0), (16, 2**30, 2)],
)
def test_loader_processes_fit_processors_and_shared_memory(
    monkeypatch: pytest.MonkeyPatch, processors: int, shared: int, workers: int
) -> None:
    monkeypatch.setattr(quota, "processors", lambda: processors)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: Usage(shared, 0, shared))
    assert quota.loader_workers() == workers


def test_processors_follow_the_quota(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """joblib reads the quota; this fails if it stops doing so."""
    import builtins
    import os

    (tmp_path / "cpu.max").write_text("100000 100000")
    real_open, real_exists = builtins.open, os.path.exists
    place = "/sys/fs/cgroup/cpu.max"
    monkeypatch.setattr(os.path, "exists", lambda path: path == place or real_exists(path))
    monkeypatch.setattr(
        builtins,
        "open",
        lambda path, *rest, **more: real_open(tmp_path / "cpu.max" if path == place else path, *rest, **more),
    )
    assert quota.processors() == 1
