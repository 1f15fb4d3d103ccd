"""Fixtures for the converters: the extracted archives of the mirror, and small images."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from segbench.data.sources.archives import extract, is_archive


class _Extracted(defaultdict):
    def __init__(self, mirror: Path, scratch: Path) -> None:
        super().__init__()
        self.mirror, self.scratch = mirror, scratch

    def __missing__(self, name: str) -> Path:
        archive = self.mirror / name
        self[name] = extract(archive, self.scratch / name) if is_archive(archive) else archive
        return self[name]


@pytest.fixture(scope="session")
def archives(mirror: Path, tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, Path]:
    """Archive name -> extracted folder. An archive is extracted on first access."""
    return _Extracted(mirror, tmp_path_factory.mktemp("extracted"))


@pytest.fixture
def save() -> Callable[..., Path]:
    """Write an array (by default an 8 x 8 colour image) as an image file."""

    def run(path: Path, array: np.ndarray | None = None) -> Path:
        path.parent.mkdir(parents=True, exist_ok=True)
        pixels = np.zeros((8, 8, 3), np.uint8) if array is None else array.astype(np.uint8)
        Image.fromarray(pixels).save(path)
        return path

    return run
