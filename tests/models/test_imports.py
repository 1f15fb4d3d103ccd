"""Imports between modules of segbench/models: an edit of one network must not retrain another one."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import segbench.models

ROOT = Path(segbench.models.__file__).parent
SHARED = ("layers", "losses", "bases")
"""From low to high: each may import those before it, and itself."""
AROUND = {"network", "saved", "weights", "whole_batch"}
"""Modules that are no networks: what all networks inherit or call, and what reads weights or does without."""
BUILT_ON = {("mask_rcnn", "faster_rcnn"), ("mask_rcnn_v2", "mask_rcnn")}
"""Networks that extend another one: (child, parent)."""


def imported(path: Path) -> Iterator[str]:
    """Parts of segbench.models that a file imports, such as `layers` or `unet`; also inside functions."""
    for node in ast.walk(ast.parse(path.read_text())):
        names: list[str] = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"{path}: relative import"
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        for name in names:
            if name.startswith("segbench.models."):
                yield name.split(".")[2]


def part(path: Path) -> str:
    return path.relative_to(ROOT).parts[0].removesuffix(".py")


FILES = sorted(p for p in ROOT.rglob("*.py") if p.parent != ROOT or p.stem != "__init__")
NETWORKS = {part(p) for p in FILES} - {*SHARED, *AROUND}


def test_shared_parts_import_no_network() -> None:
    for path in FILES:
        if part(path) in SHARED:
            allowed = {*SHARED[: SHARED.index(part(path)) + 1], "network", "whole_batch"}
            assert set(imported(path)) <= allowed, path


def test_networks_import_no_other_network() -> None:
    assert {"unet", "mask2former", "solo"} <= NETWORKS
    pairs = {(part(p), name) for p in FILES if part(p) in NETWORKS for name in imported(p)}
    assert {(a, b) for a, b in pairs if b in NETWORKS and a != b} == BUILT_ON
