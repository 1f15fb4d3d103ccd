"""Pixels are those of `Split.read_image`, whatever the file."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from segbench.data import images
from segbench.data.images import read_image, read_label_map
from segbench.data.loading.decoding import read_colours, read_labels, read_pixels
from segbench.errors import SegbenchError

RNG = np.random.default_rng(0)


class OneImage:
    """A split of one file."""

    def __init__(self, path: Path, channels: int) -> None:
        self.record: Any = SimpleNamespace(path=path)
        self.kept = None
        self.dataset = SimpleNamespace(info=SimpleNamespace(levels=None, channels=channels))

    def read_image(self, record: Any) -> np.ndarray:
        return read_image(record.path, self.dataset.info.channels)


def saved(folder: Path, mode: str, suffix: str) -> Path:
    colours = Image.fromarray(RNG.integers(0, 256, (13, 17, 3), dtype=np.uint8))
    path = folder / f"{mode.replace(';', '')}{suffix}"
    image = colours.convert("L").convert("I;16") if mode == "I;16" else colours.convert(mode)
    image.save(path)
    return path


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize(
    ("mode", "suffix"),
    [
        *[(mode, ".png") for mode in ("1", "L", "LA", "P", "RGB", "RGBA")],
        *[(mode, ".jpg") for mode in ("L", "RGB", "CMYK")],
        ("RGB", ".bmp"),
    ],
)
def test_pixels_are_those_of_the_dataset(tmp_path: Path, mode: str, suffix: str, channels: int) -> None:
    split: Any = OneImage(saved(tmp_path, mode, suffix), channels)
    found, expected = read_pixels(split, split.record), split.read_image(split.record)
    assert found.dtype == torch.uint8
    np.testing.assert_array_equal(found.numpy(), expected.transpose(2, 0, 1))


@pytest.mark.parametrize("mode", ["1", "L", "P", "I;16"])
def test_labels_are_those_of_the_file(tmp_path: Path, mode: str) -> None:
    path = saved(tmp_path, mode, ".png")
    np.testing.assert_array_equal(read_labels(path), read_label_map(path))


def test_colours_are_those_of_the_file(tmp_path: Path) -> None:
    for mode in ("RGB", "P"):
        path = saved(tmp_path, mode, ".png")
        np.testing.assert_array_equal(read_colours(path), np.asarray(Image.open(path).convert("RGB")))


def test_an_image_in_several_parts_of_memory(tmp_path: Path) -> None:
    """Pillow divides images of more than 16 MB."""
    path = tmp_path / "large.png"
    Image.fromarray(RNG.integers(0, 9, (2100, 2100), dtype=np.uint8)).convert("RGB").save(
        path, compress_level=1
    )
    split: Any = OneImage(path, 3)
    np.testing.assert_array_equal(
        read_pixels(split, split.record).permute(1, 2, 0).numpy(), np.asarray(Image.open(path))
    )


def test_broken_and_huge_files_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = saved(tmp_path, "RGB", ".jpg")
    split: Any = OneImage(path, 3)
    monkeypatch.setattr(images, "_allowed", 100)
    with pytest.raises(SegbenchError, match=r"RGB\.jpg: has 17x13 pixels; up to 100 are allowed"):
        read_pixels(split, split.record)
    monkeypatch.undo()
    path.write_bytes(path.read_bytes()[:400])
    with pytest.raises(SegbenchError, match=r"RGB\.jpg: is not a readable image"):
        read_pixels(split, split.record)
