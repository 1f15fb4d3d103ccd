from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image

from segbench.data.converters.stacking import stacked
from segbench.errors import SegbenchError


def grey(dtype: str, *values: int, shape: tuple[int, ...] = (4, 6)) -> np.ndarray:
    return np.resize(np.array(values, dtype), shape)


def write(path: Path, array: np.ndarray) -> Path:
    if path.suffix == ".png":
        Image.fromarray(array).save(path)
    else:
        tifffile.imwrite(path, array)
    return path


@pytest.mark.parametrize(
    ("arrays", "dtype"),
    [
        ([grey("u1", 3, 255), grey("u1", 7)], "u1"),
        ([grey("u1", 3), grey("u2", 60000, 1)], "u2"),
        ([grey("i2", -1000, 3000), grey("u1", 9)], "i2"),
        ([grey("i2", -1000), grey("u2", 60000)], "f4"),
        ([grey("f8", 1, 2), grey("u1", 5)], "f4"),
        ([grey("i4", 70000, -70000)], "f4"),
    ],
)
def test_values_and_order_are_kept(arrays: list[np.ndarray], dtype: str, tmp_path: Path) -> None:
    files = [write(tmp_path / f"{9 - k}.tif", array) for k, array in enumerate(arrays)]
    joined = stacked(files, "stored", "case 1")
    assert joined.dtype == dtype and joined.shape == (4, 6, len(arrays))
    assert (joined == np.stack(arrays, axis=2)).all()


def test_colours_and_a_grey_band_have_four_channels(tmp_path: Path) -> None:
    rgba = np.resize(np.arange(96, dtype=np.uint8), (4, 6, 4))
    files = [write(tmp_path / "rgb.png", rgba), write(tmp_path / "nir.tif", grey("u2", 500))]
    assert (stacked(files, "stored", "a")[:, :, :3] == rgba[:, :, :3]).all()
    assert (stacked(files, "stored", "a")[:, :, 3] == 500).all()


def test_all_missing_files_are_listed(tmp_path: Path) -> None:
    write(tmp_path / "b.tif", grey("u1", 3))
    with pytest.raises(SegbenchError) as caught:
        stacked([tmp_path / name for name in ("a.tif", "b.tif", "c.tif")], "stored", "case 7")
    text = str(caught.value)
    assert text.startswith("case 7: 2 of its 3 files cannot be used")
    assert "a.tif: is missing" in text and "c.tif: is missing" in text and "b.tif" not in text


def test_files_of_different_sizes(tmp_path: Path) -> None:
    files = [write(tmp_path / "a.tif", grey("u1", 3)), write(tmp_path / "b.tif", grey("u1", 3, shape=(5, 6)))]
    with pytest.raises(SegbenchError, match=r"case 7: the channels differ in size: a\.tif 6x4, b\.tif 6x5\n"):
        stacked(files, "stored", "case 7")


def test_integers_that_no_type_holds(tmp_path: Path) -> None:
    with pytest.raises(SegbenchError, match=r"a\.tif: has integers from 0 to 16777217, which float32"):
        stacked([write(tmp_path / "a.tif", grey("i4", 0, 2**24 + 1))], "stored", "a")
