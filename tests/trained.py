"""Fixtures for tests that train; the `conftest.py` of their folders imports them."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from segbench.contract.cell import CellSpec
from segbench.training.runner.train import train


@pytest.fixture
def run(shapes: Path, tmp_path: Path) -> Callable[..., dict[str, Any]]:
    """Train on `shapes` in a folder of this name; gives training.json."""

    def run(folder: str, spec: CellSpec, **options: Any) -> dict[str, Any]:
        train(shapes, spec, tmp_path / folder, threads=1, **options)
        return json.loads((tmp_path / folder / "training.json").read_text())

    return run


@pytest.fixture(autouse=True)
def torch_settings():
    """Training sets the threads of the process."""
    threads = torch.get_num_threads()
    yield
    torch.set_num_threads(threads)
    torch.use_deterministic_algorithms(False)
