from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from segbench.data.converters.common import read_binary
from segbench.errors import SegbenchError

DISC = np.hypot(*(np.mgrid[:32, :32] - 15.5)) < 9


def saved(path: Path, array: np.ndarray, **options: object) -> Path:
    Image.fromarray(array).save(path, **options)
    return path


@pytest.mark.parametrize("values", [(0, 255), (0, 1), (0, 128), (3, 253)])
def test_two_values_are_black_and_white(tmp_path: Path, values: tuple[int, int]):
    path = saved(tmp_path / "mask.png", np.where(DISC, *values[::-1]).astype(np.uint8))
    assert (read_binary(path) == DISC).all()


@pytest.mark.parametrize(("value", "inside"), [(0, False), (1, True), (255, True)])
def test_one_value(tmp_path: Path, value: int, inside: bool):
    assert (read_binary(saved(tmp_path / "mask.png", np.full((4, 4), value, np.uint8))) == inside).all()


def test_jpeg_and_bool(tmp_path: Path):
    jpeg = saved(tmp_path / "mask.jpg", np.where(DISC, 255, 0).astype(np.uint8), quality=90)
    assert len(np.unique(np.asarray(Image.open(jpeg)))) > 2
    assert (read_binary(jpeg) != DISC).mean() < 0.01
    assert (read_binary(saved(tmp_path / "mask.png", DISC)) == DISC).all()


@pytest.mark.parametrize("values", [[0, 1, 2], [1, 2], [0, 100, 255], [200, 255], [3]])
def test_other_masks_are_ambiguous(tmp_path: Path, values: list[int]):
    array = np.resize(np.array(values, np.uint8), (30, 30))
    with pytest.raises(
        SegbenchError, match=r"mask\.png: is not a black and white mask.*\n  remedy: save it as PNG"
    ):
        read_binary(saved(tmp_path / "mask.png", array))
