from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from segbench.data.coco import masks
from segbench.data.converters.cell_tracking import convert
from segbench.errors import SegbenchError


def saved(path: Path, array: np.ndarray, kind: type = np.uint16) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(array.astype(kind)).save(path)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Frames 0 and 1 of a sequence; an outline of cell 2 in frame 0, silver truth in both."""
    for frame in ("000", "001"):
        saved(tmp_path / f"toy/01/t{frame}.tif", np.full((8, 8), 7), np.uint8)
        saved(tmp_path / f"toy/01_ST/SEG/man_seg{frame}.tif", np.full((8, 8), 3))
        saved(tmp_path / f"toy/01_GT/TRA/man_track{frame}.tif", np.eye(8) * 2)
    saved(tmp_path / "toy/01_GT/SEG/man_seg000.tif", np.diag([40000] * 8))
    return tmp_path


def samples(root: Path, **options):
    return list(convert({"toy.zip": root}, options).samples)


def test_gold_truth_has_only_frames_with_outlines(root: Path):
    (sample,) = samples(root)
    assert (sample.split, sample.stem, sample.group) == ("train", "01_000", "01")
    assert (sample.semantic == np.eye(8)).all()
    assert [masks.area(o["segmentation"]) for o in sample.instances] == [8]


def test_silver_truth_has_all_frames(root: Path):
    found = samples(root, truth="silver")
    assert [s.stem for s in found] == ["01_000", "01_001"] and (found[1].semantic == 1).all()


def test_tracked_cells_without_an_outline_are_void_and_counted(root: Path, caplog):
    markers = np.eye(8) * 2
    markers[0, 7], markers[7, 0] = 5, 6
    saved(root / "toy/01_GT/TRA/man_track000.tif", markers)
    with caplog.at_level(logging.WARNING):
        (sample,) = samples(root)
    assert np.argwhere(sample.semantic == -1).tolist() == [[0, 7], [7, 0]]
    assert "2 tracked cells have no outline" in caplog.text


def test_mistakes_of_all_frames_are_listed(root: Path, write):
    saved(root / "toy/01_GT/SEG/man_seg009.tif", np.zeros((8, 8)))
    saved(root / "toy/01_GT/SEG/man_seg_000_003.tif", np.zeros((8, 8)))
    saved(root / "toy/01_GT/TRA/man_track000.tif", np.zeros((4, 8)))
    with pytest.raises(SegbenchError) as caught:
        write(convert({"toy.zip": root}, {}), channels=1)
    message = str(caught.value)
    assert message.startswith("3 errors")
    for part in (
        "t009.tif: is missing",
        "man_seg_000_003.tif: is not named man_seg<frame>.tif; three-dimensional",
        "man_track000.tif: has 8x4 pixels, man_seg000.tif has 8x8",
    ):
        assert part in message


def test_archive_of_the_test_sequences_is_refused(tmp_path: Path):
    saved(tmp_path / "toy/01/t000.tif", np.zeros((8, 8)))
    with pytest.raises(SegbenchError, match=r"toy: has no folder \*_GT/SEG"):
        samples(tmp_path)
