from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image
from scipy.io import savemat
from scipy.sparse import csc_matrix

from segbench.data.converters.mask_files import read_mask
from segbench.errors import SegbenchError

VALUES = np.array([[0, 1, 2], [3, 200, 255]], np.uint8)
WIDE = np.array([[0, 1, 300], [256, 40000, 65535]], np.uint16)


def saved(path: Path, array: np.ndarray, mode: str | None = None, **options: object) -> Path:
    image = Image.fromarray(array)
    (image.convert(mode) if mode else image).save(path, **options)
    return path


def palette(array: np.ndarray) -> Image.Image:
    image = Image.fromarray(array)
    image.putpalette([v for i in range(256) for v in (i, 255 - i, 7)])
    return image


@pytest.mark.parametrize("suffix", ["png", "tif", "bmp", "gif", "ppm", "pgm"])
def test_eight_bits_in_any_format(tmp_path: Path, suffix: str):
    assert (read_mask(saved(tmp_path / f"a.{suffix}", VALUES), "values") == VALUES).all()


def test_a_ppm_whose_values_programs_scale_is_refused(tmp_path: Path):
    (tmp_path / "a.pgm").write_bytes(b"P5\n3 1\n2\n\0\1\2")
    with pytest.raises(SegbenchError, match=r"a\.pgm: states that white is 2, so that programs scale"):
        read_mask(tmp_path / "a.pgm", "values")


@pytest.mark.parametrize("suffix", ["png", "tif"])
@pytest.mark.parametrize("content", ["values", "numbers"])
def test_sixteen_bits(tmp_path: Path, suffix: str, content):
    assert (read_mask(saved(tmp_path / f"a.{suffix}", WIDE), content) == WIDE).all()


@pytest.mark.parametrize("dtype", ["u1", "u2", "u4", "u8", "i1", "i2", "i4", "i8", "f2", "f4", "f8"])
@pytest.mark.parametrize("options", [{}, {"compression": "zlib"}, {"bigtiff": True, "byteorder": ">"}])
def test_tiffs_of_scientific_programs(tmp_path: Path, dtype: str, options: dict):
    largest = {"u4": 2**32 - 1, "u8": 2**40}.get(dtype, 127)
    array = np.array([[0, 1, 100], [2, 3, largest]], dtype)
    if dtype[0] == "i":
        array[0, 1] = -1
    tifffile.imwrite(tmp_path / "a.tif", array, **options)
    assert (read_mask(tmp_path / "a.tif", "numbers") == array).all()


@pytest.mark.parametrize("dtype", [bool, np.uint8, np.uint16])
def test_tiffs_that_programs_invert_are_refused(tmp_path: Path, dtype):
    tifffile.imwrite(tmp_path / "a.tif", VALUES.astype(dtype), photometric="miniswhite")
    with pytest.raises(SegbenchError, match=r"a\.tif: stores white as 0 \(MinIsWhite\)"):
        read_mask(tmp_path / "a.tif", "values")


def test_pages_of_64_bits_are_refused(tmp_path: Path):
    tifffile.imwrite(tmp_path / "a.tif", np.zeros((3, 20, 30), np.int64), photometric="minisblack")
    with pytest.raises(SegbenchError, match="has 3 pages"):
        read_mask(tmp_path / "a.tif", "numbers")


def test_palettes_give_indices_or_colours(tmp_path: Path):
    palette(VALUES).save(tmp_path / "a.png")
    assert (read_mask(tmp_path / "a.png", "values") == VALUES).all()
    colors = VALUES.astype(int) + 256 * (255 - VALUES.astype(int)) + 65536 * 7
    assert (read_mask(tmp_path / "a.png", "colors") == colors).all()


def test_colours_that_are_grey_are_values(tmp_path: Path):
    path = saved(tmp_path / "a.png", VALUES, "RGB")
    assert (read_mask(path, "values") == VALUES).all()
    assert (read_mask(path, "colors") == VALUES.astype(int) * 0x010101).all()
    assert (read_mask(saved(tmp_path / "grey.png", VALUES), "colors") == VALUES.astype(int) * 0x010101).all()


def test_colours_are_no_values(tmp_path: Path):
    array = np.zeros((2, 3, 3), np.uint8)
    array[0, 1] = 1, 2, 3
    path = saved(tmp_path / "a.png", array)
    with pytest.raises(SegbenchError, match=r"a\.png: has colours, but `classes` names values\n.*#804000"):
        read_mask(path, "values")
    assert read_mask(path, "colors")[0].tolist() == [0, 1 + 512 + 3 * 65536, 0]


@pytest.mark.parametrize("mode", ["RGBA", "LA"])
def test_alpha_is_opaque_or_refused(tmp_path: Path, mode: str):
    assert (read_mask(saved(tmp_path / "a.png", VALUES, mode), "values") == VALUES).all()
    image = Image.fromarray(VALUES).convert(mode)
    image.putpixel((0, 0), (0,) * len(mode))
    image.save(tmp_path / "b.png")
    with pytest.raises(SegbenchError, match="has 1 transparent pixels"):
        read_mask(tmp_path / "b.png", "values")


def test_one_bit_is_bool_and_white_is_bright(tmp_path: Path):
    path = saved(tmp_path / "a.png", VALUES > 2, "1")
    assert read_mask(path, "values").tolist() == (VALUES > 2).tolist()
    assert read_mask(path, "grey").tolist() == (255 * (VALUES > 2)).tolist()


@pytest.mark.parametrize("suffix", ["jpg", "png"])
def test_jpeg_is_refused_whatever_its_name(tmp_path: Path, suffix: str):
    path = saved(tmp_path / f"a.{suffix}", VALUES, format="JPEG")
    with pytest.raises(SegbenchError, match=r"compressed with loss \(JPEG\)[\s\S]*set `threshold`"):
        read_mask(path, "values")
    assert read_mask(path, "grey").shape == (2, 3)


def test_jpeg_in_tiff_is_refused(tmp_path: Path):
    path = saved(tmp_path / "a.tif", np.zeros((16, 16), np.uint8), compression="jpeg")
    with pytest.raises(SegbenchError, match="compressed with loss"):
        read_mask(path, "values")


@pytest.mark.parametrize("suffix", ["tif", "gif"])
def test_pages_are_refused(tmp_path: Path, suffix: str):
    first, second = Image.fromarray(VALUES), Image.fromarray(255 - VALUES)
    first.save(tmp_path / f"a.{suffix}", save_all=True, append_images=[second])
    with pytest.raises(SegbenchError, match="has 2 pages"):
        read_mask(tmp_path / f"a.{suffix}", "values")


def test_masks_that_viewers_turn_are_refused(tmp_path: Path):
    exif = Image.Exif()
    exif[0x0112] = 6
    with pytest.raises(SegbenchError, match="EXIF orientation"):
        read_mask(saved(tmp_path / "a.png", VALUES, exif=exif), "values")


def test_arrays_of_numpy(tmp_path: Path):
    for dtype in (np.uint8, np.int64, np.uint64, np.float64, ">i4"):
        np.save(tmp_path / "a.npy", VALUES.astype(dtype))
        assert (read_mask(tmp_path / "a.npy", "numbers") == VALUES).all()
    np.save(tmp_path / "a.npy", np.asfortranarray(WIDE)[:, :, None])
    assert (read_mask(tmp_path / "a.npy", "values") == WIDE).all()
    np.save(tmp_path / "a.npy", VALUES / 255)
    assert (read_mask(tmp_path / "a.npy", "grey") == VALUES / 255).all()
    np.save(tmp_path / "a.npy", VALUES > 2)
    assert (read_mask(tmp_path / "a.npy", "grey") == 255 * (VALUES > 2)).all()


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.array([[{"masks": 1}]]), r"holds Python objects, which can run code[\s\S]*numpy.save"),
        (np.full((2, 3), 0.5), r"not whole numbers[\s\S]*set `threshold`"),
        (np.full((2, 3), np.nan), "values that are not finite"),
        (np.zeros((2, 3), complex), "is not a mask: shape .2, 3., type complex128"),
        (np.zeros((4, 2, 3)), "is not a mask: shape .4, 2, 3."),
        (np.zeros((0, 3)), "is not a mask: shape .0, 3."),
        (np.zeros(3), "is not a mask: shape .3,."),
        (np.full((2, 3), 2**64 - 1, np.uint64), "has the value 18446744073709551615"),
    ],
)
def test_arrays_that_are_no_masks(tmp_path: Path, array: np.ndarray, message: str):
    np.save(tmp_path / "a.npy", array)
    with pytest.raises(SegbenchError, match=message):
        read_mask(tmp_path / "a.npy", "values")


def test_an_array_that_claims_to_be_huge(tmp_path: Path):
    np.save(tmp_path / "a.npy", np.zeros((2, 3), np.uint8))
    content = (tmp_path / "a.npy").read_bytes().replace(b"(2, 3), }   ", b"(90000, 90000), }"[:12])
    (tmp_path / "a.npy").write_bytes(content)
    with pytest.raises(SegbenchError, match=r"a\.npy: is not a readable \.npy file"):
        read_mask(tmp_path / "a.npy", "values")


def test_matlab_files(tmp_path: Path):
    content = {"inst_map": WIDE.astype(float), "type": VALUES, "GT": {"Segmentation": VALUES}}
    content["sparse"] = csc_matrix(VALUES > 2)
    savemat(tmp_path / "a.mat", content, do_compression=True)
    assert (read_mask(tmp_path / "a.mat", "numbers", "inst_map") == WIDE).all()
    assert (read_mask(tmp_path / "a.mat", "values", "GT.Segmentation") == VALUES).all()
    assert (read_mask(tmp_path / "a.mat", "values", "sparse") == (VALUES > 2)).all()
    savemat(tmp_path / "b.mat", {"only": VALUES})
    assert (read_mask(tmp_path / "b.mat", "values") == VALUES).all()
    for key, message in (
        (None, r"has several variables \(has: inst_map 2x3, type 2x3, GT 1x1, sparse 2x3\)\n.*set `key`"),
        ("inst", "has no variable 'inst'"),
        ("GT.seg", r"has no field 'seg' in 'GT' \(has: Segmentation\)"),
    ):
        with pytest.raises(SegbenchError, match=message):
            read_mask(tmp_path / "a.mat", "values", key)


def test_matlab_files_that_are_not_read(tmp_path: Path):
    header = b"MATLAB 7.3 MAT-file".ljust(124) + b"\x00\x02IM"
    (tmp_path / "a.mat").write_bytes(header + bytes(512))
    with pytest.raises(SegbenchError, match=r"a\.mat: is a MATLAB file of version 7\.3\n.*-v7"):
        read_mask(tmp_path / "a.mat", "values")
    (tmp_path / "b.mat").write_bytes(b"x" * 300)
    with pytest.raises(SegbenchError, match=r"b\.mat: is not a readable MATLAB file"):
        read_mask(tmp_path / "b.mat", "values")
