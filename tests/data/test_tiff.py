from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tifffile
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from segbench.data.images import array_raster, open_raster, save_raster
from segbench.errors import SegbenchError

CUBE = np.arange(20 * 30 * 5, dtype=np.uint16).reshape(20, 30, 5) * 21
shapes = st.tuples(st.integers(1, 9), st.integers(1, 9), st.integers(1, 16))


@given(st.sampled_from(["u1", "u2", "i2", "f4"]).flatmap(lambda t: arrays(t, shapes)))
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_an_array_is_stored_exactly(tmp_path: Path, array: np.ndarray) -> None:
    if array.dtype == np.float32:
        array[~np.isfinite(array)] = -0.5
    raster = array_raster(array, array.shape[2], "a")
    read = open_raster(save_raster(raster.array, tmp_path / "a"), array.shape[2])
    assert read.array.dtype in (array.dtype, np.int32)  # Pillow widens int16
    assert read.array.shape == array.shape
    assert np.array_equal(read.array, array)
    assert read.canonical


@pytest.mark.parametrize(
    "written",
    [
        pytest.param((CUBE, {"photometric": "minisblack", "planarconfig": "contig"}), id="interleaved"),
        pytest.param(
            (CUBE.transpose(2, 0, 1), {"photometric": "minisblack", "planarconfig": "separate"}), id="planar"
        ),
        pytest.param((CUBE, {}), id="rows as pages"),
        pytest.param((CUBE.transpose(2, 0, 1), {}), id="shaped"),
        pytest.param((CUBE.transpose(2, 0, 1), {"metadata": None}), id="pages"),
        pytest.param((CUBE.transpose(2, 0, 1), {"imagej": True}), id="imagej"),
        pytest.param((CUBE.transpose(2, 0, 1), {"imagej": True, "metadata": {"axes": "ZYX"}}), id="slices"),
        pytest.param((CUBE.transpose(2, 0, 1), {"ome": True, "metadata": {"axes": "CYX"}}), id="ome"),
        pytest.param(
            (CUBE.byteswap().view(">u2"), {"photometric": "minisblack", "byteorder": ">"}), id="big endian"
        ),
    ],
)
@pytest.mark.parametrize("size", [(20, 30), None])
def test_axes_of_common_layouts(written: tuple, size: tuple[int, int] | None, tmp_path: Path) -> None:
    array, options = written
    tifffile.imwrite(tmp_path / "a.tif", array, **options)
    raster = open_raster(tmp_path / "a.tif", 5, size=size)
    assert raster.array.dtype == np.uint16 and (raster.array == CUBE).all()


def test_series_of_one_size_are_channels(tmp_path: Path) -> None:
    with tifffile.TiffWriter(tmp_path / "a.tif") as file:
        for channel in range(3):
            file.write(CUBE[:, :, channel], contiguous=False)
        file.write(CUBE[::4, ::4, 0], contiguous=False)  # a thumbnail
    assert (open_raster(tmp_path / "a.tif", 3).array == CUBE[:, :, :3]).all()


@pytest.mark.parametrize(
    ("shape", "channels", "size", "message"),
    [
        ((5, 20, 30), 4, None, r"no axis has the 4 channels.*axes QYX have 5 x 20 x 30"),
        ((5, 5, 30), 5, None, r"which axis has the channels is ambiguous: its axes QYX have 5 x 5 x 30"),
        ((5, 5, 30), 5, (5, 30), r"which axis has the channels is ambiguous"),
        ((5, 20, 30), 5, (21, 30), r"is not an image of 30x21 pixels, as its truth"),
        ((5, 20, 30), 4, (20, 30), r"has 5 channels; 4 are expected\n  remedy: write `channels: 5`"),
        ((2, 5, 20, 30), 5, (20, 30), r"is not an image with channels: its axes QQYX have 2 x 5 x 20 x 30"),
        ((40, 20, 30), 40, (20, 30), r"has 40 channels or pages; up to 16 are supported"),
    ],
)
def test_axes_that_do_not_fit(
    shape: tuple[int, ...], channels: int, size: tuple[int, int] | None, message: str, tmp_path: Path
) -> None:
    tifffile.imwrite(tmp_path / "a.tif", np.zeros(shape, np.uint16))
    with pytest.raises(SegbenchError, match=rf"a\.tif: {message}"):
        open_raster(tmp_path / "a.tif", channels, size=size)


def test_alpha_is_dropped_where_the_channels_say_so(tmp_path: Path) -> None:
    rgba = CUBE[:, :, :4]
    tifffile.imwrite(tmp_path / "a.tif", rgba, photometric="rgb", extrasamples=["unassalpha"])
    assert (open_raster(tmp_path / "a.tif", 3).array == rgba[:, :, :3]).all()
    assert (open_raster(tmp_path / "a.tif", 4).array == rgba).all()


@pytest.mark.parametrize("size", [9, 200, -1])
def test_a_damaged_file(size: int, tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "a.tif", CUBE, photometric="minisblack", compression="zlib")
    (tmp_path / "a.tif").write_bytes((tmp_path / "a.tif").read_bytes()[:size])
    with pytest.raises(SegbenchError, match=r"a\.tif: is not a readable image.*\n  remedy: replace"):
        open_raster(tmp_path / "a.tif", 5)
