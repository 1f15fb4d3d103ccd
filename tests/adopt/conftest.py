"""Folders as people have them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

COLORS = np.array([[0, 0, 0], [128, 64, 0], [0, 128, 64], [64, 0, 128]], np.uint8)


class Scene:
    """A photograph of noise, with `count` squares: `objects` numbers them, `classes` has 1, 2, 3, 1, ..."""

    def __init__(self, number: int, count: int) -> None:
        rng = np.random.default_rng(number)
        self.photo = rng.integers(0, 255, (32, 40, 3), dtype=np.uint8)
        self.objects = np.zeros((32, 40), np.uint16)
        for k in range(count):
            top, left = 10 * (k // 4) + 1 + number % 2, 10 * (k % 4) + 1
            self.objects[top : top + 7, left : left + 7] = k + 1
        self.classes = np.where(self.objects > 0, (self.objects - 1) % 3 + 1, 0).astype(np.uint8)

    @property
    def binary(self) -> np.ndarray:
        return np.where(self.classes > 0, 255, 0).astype(np.uint8)


Scenes = list[Scene]
Save = Callable[..., None]


@pytest.fixture(scope="session")
def scenes() -> Scenes:
    """Eight scenes with 3 to 10 objects."""
    return [Scene(k, 3 + k) for k in range(8)]


@pytest.fixture
def put(tmp_path: Path) -> Save:
    """Save an array below `own/`: images by suffix, .npy, or a text."""

    def save(name: str, value: np.ndarray | str, **options: object) -> None:
        path = tmp_path / "own" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if isinstance(value, str):
            path.write_text(value)
        elif path.suffix == ".npy":
            np.save(path, value)
        else:
            Image.fromarray(value).save(path, **options)

    return save
