"""Fixtures for tests that read and write canonical datasets."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from segbench.data.dataset import Converted, Dataset
from segbench.data.writing.writer import write_dataset


@pytest.fixture
def write(tmp_path: Path) -> Callable[..., Dataset]:
    """Write the result of a converter as a dataset, and open it."""

    def run(converted: Converted, channels: int = 3, name: str = "toy", **more: Any) -> Dataset:
        root = tmp_path / "datasets" / name
        texts = {"title": name, "licence": "none", "citation": "none"}
        write_dataset(converted, root, name=name, archives={}, channels=channels, **texts, **more)
        return Dataset(root)

    return run
