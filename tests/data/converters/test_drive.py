from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from segbench.data.converters.drive import convert
from segbench.errors import SegbenchError


def test_mirror(archives, write):
    dataset = write(convert(archives, {}))
    info = dataset.info
    assert (info.splits, info.tasks, info.derived) == ({"test": 5, "train": 20}, ["semantic"], [])
    assert [c.name for c in info.categories] == ["vessel"]
    assert info.evaluation_split == "test" and info.background
    assert dataset.split("train").images[0].path.name == "21_training.tif"
    root = archives["DRIVE.zip"] / "DRIVE" / "test"
    manual, field = (
        np.asarray(Image.open(root / p)) == 255
        for p in ("1st_manual/01_manual1.gif", "mask/01_test_mask.gif")
    )
    ids = dataset.split("test").read_semantic("01_test")
    assert ids.shape == (584, 565)
    assert ((ids == -1) == ~field).all()
    assert ((ids == 1) == (manual & field)).all()


def test_second_observer(archives, write):
    first, second = (write(convert(archives, {"observer": n}), name=f"observer{n}") for n in (1, 2))
    for split, same in (("train", True), ("test", False)):
        stem = first.split(split).images[0].stem
        a, b = (d.split(split).read_semantic(stem) for d in (first, second))
        assert (a == b).all() == same


def test_release_without_test_truth_is_named(tmp_path: Path, save):
    root = tmp_path / "DRIVE"
    for folder in ("training", "test"):
        save(root / folder / "images" / f"01_{folder}.tif")
        save(root / folder / "mask" / f"01_{folder}_mask.gif", np.full((8, 8), 255))
    save(root / "training" / "1st_manual" / "01_manual1.gif", np.zeros((8, 8)))
    with pytest.raises(SegbenchError, match=r"test/1st_manual: is missing\n  remedy: use a release with"):
        list(convert({"DRIVE.zip": tmp_path}, {}).samples)


def test_unknown_option():
    with pytest.raises(SegbenchError, match=r"options\.observers: .*\n.*did you mean 'observer'"):
        convert({}, {"observers": 2})
    with pytest.raises(SegbenchError, match=r"options\.observer: .*3"):
        convert({}, {"observer": 3})


def test_second_observer_is_kept_beside_the_truth(archives, write):
    dataset = write(convert(archives, {"second": True}))
    assert dataset.info.twice == {"test": 5}
    other = write(convert(archives, {"observer": 2, "second": True}), name="other").split("test")
    first, second = dataset.split("test"), dataset.split("test").second()
    assert [r.stem for r in second] == [r.stem for r in first]
    for stem in ("01_test", "02_test"):
        assert (second.read_semantic(stem) == other.read_semantic(stem)).all()
        assert (first.read_semantic(stem) == other.second().read_semantic(stem)).all()


def test_release_without_the_second_observer_is_named(tmp_path: Path, save):
    root = tmp_path / "DRIVE"
    for folder in ("training", "test"):
        save(root / folder / "images" / f"01_{folder}.tif")
        save(root / folder / "mask" / f"01_{folder}_mask.gif", np.full((8, 8), 255))
        save(root / folder / "1st_manual" / "01_manual1.gif", np.zeros((8, 8)))
    with pytest.raises(SegbenchError, match=r"test/2nd_manual: is missing\n  remedy: .*`second: false`"):
        list(convert({"DRIVE.zip": tmp_path}, {"second": True}).samples)
