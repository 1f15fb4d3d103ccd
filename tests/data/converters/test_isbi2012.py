from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from segbench.data.converters.isbi2012 import convert
from segbench.data.images import read_image
from segbench.errors import SegbenchError


def stack(path: Path, arrays: list[np.ndarray]) -> Path:
    first, *rest = [Image.fromarray(a.astype(np.uint8)) for a in arrays]
    first.save(path, save_all=True, append_images=rest)
    return path


def test_mirror(archives, write):
    dataset = write(convert(archives, {}), channels=1)
    assert dataset.info.splits == {"test": 6, "train": 14}
    assert [c.name for c in dataset.info.categories] == ["membrane"]
    assert [r.stem for r in dataset.split("test")] == [f"slice_{i}" for i in range(14, 20)]
    with (
        Image.open(archives["train-labels.tif"]) as labels,
        Image.open(archives["train-volume.tif"]) as volume,
    ):
        labels.seek(15)
        volume.seek(15)
        record = dataset.split("test").images[1]
        assert (dataset.split("test").read_semantic(record.stem) == (np.asarray(labels) == 0)).all()
        assert (read_image(record.path, 1)[:, :, 0] == np.asarray(volume)).all()


def test_thirty_slices_give_blocks_of_21_and_9(tmp_path: Path):
    pages = [np.full((4, 4), i) for i in range(30)]
    archives = {n: stack(tmp_path / n, pages) for n in ("train-volume.tif", "train-labels.tif")}
    samples = list(convert(archives, {}).samples)
    assert [s.split for s in samples] == ["train"] * 21 + ["test"] * 9
    groups = [s.group for s in samples]
    assert groups == [groups[3 * (n // 3)] for n in range(30)] and len(set(groups)) == 10


def test_unequal_stacks(tmp_path: Path):
    page = np.zeros((4, 4))
    archives = {
        "train-volume.tif": stack(tmp_path / "train-volume.tif", [page] * 3),
        "train-labels.tif": stack(tmp_path / "train-labels.tif", [page] * 2),
    }
    with pytest.raises(SegbenchError, match=r"has 2 pages, train-volume\.tif has 3"):
        list(convert(archives, {}).samples)


def test_truncated_stack(tmp_path: Path):
    pages = [np.random.default_rng(0).integers(0, 255, (64, 64)) for _ in range(4)]
    archives = {n: stack(tmp_path / n, pages) for n in ("train-volume.tif", "train-labels.tif")}
    volume = archives["train-volume.tif"]
    volume.write_bytes(volume.read_bytes()[:9000])
    with pytest.raises(SegbenchError, match=r"train-volume\.tif: is a damaged stack"):
        list(convert(archives, {}).samples)
