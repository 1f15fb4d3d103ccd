from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image

from segbench.data import images
from segbench.data.images import IMAGE_SUFFIXES, open_image, open_raster, read_image, read_upright
from segbench.errors import SegbenchError

STORED = {  # how a camera held in eight ways stores the upright image [[1, 2, 3], [4, 5, 6]]
    1: [[1, 2, 3], [4, 5, 6]],
    2: [[3, 2, 1], [6, 5, 4]],
    3: [[6, 5, 4], [3, 2, 1]],
    4: [[4, 5, 6], [1, 2, 3]],
    5: [[1, 4], [2, 5], [3, 6]],
    6: [[3, 6], [2, 5], [1, 4]],
    7: [[6, 3], [5, 2], [4, 1]],
    8: [[4, 1], [5, 2], [6, 3]],
}


@pytest.mark.parametrize("orientation", STORED)
@pytest.mark.parametrize("form", ["png", "tiff", "webp"])
def test_all_eight_orientations(orientation: int, form: str, tmp_path: Path) -> None:
    path = tmp_path / f"photo.{form}"
    exif = Image.Exif()
    lossless = {"lossless": True} if form == "webp" else {}
    exif[0x0112] = orientation
    Image.fromarray(np.array(STORED[orientation], np.uint8)).save(path, exif=exif, **lossless)
    assert read_upright(path, 1)[:, :, 0].tolist() == [[1, 2, 3], [4, 5, 6]]
    assert read_image(path, 1)[:, :, 0].tolist() == STORED[orientation]


@pytest.mark.parametrize("value", [0, 9, 65535])
def test_an_orientation_that_is_none(value: object, tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = value
    Image.fromarray(np.array(STORED[1], np.uint8)).save(tmp_path / "photo.jpg", exif=exif)
    assert read_upright(tmp_path / "photo.jpg", 1).shape == (2, 3, 1)


def test_colour_and_grey_become_each_other(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    Image.new("RGBA", (2, 2), (255, 0, 0, 0)).save(path)
    assert read_image(path, 3)[0, 0].tolist() == [255, 0, 0]
    assert read_image(path, 1)[0, 0].tolist() == [76]


def test_the_largest_image_is_a_limit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "large.png"
    Image.new("L", (30, 20)).save(path)
    monkeypatch.setattr(images, "_allowed", 599)
    with pytest.raises(SegbenchError, match=r"large\.png: has 30x20 pixels; up to 599.*\n.*max_pixels: 600"):
        open_image(path)
    images.allow_pixels(600)
    images.allow_pixels(10)
    assert open_image(path).size == (30, 20)


def test_an_image_of_196_megapixels_is_opened_where_that_is_allowed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "slide.png"
    Image.new("1", (14_000, 14_000)).save(path)
    with pytest.raises(SegbenchError, match="14000x14000"):
        open_image(path)
    monkeypatch.setattr(images, "_allowed", images.MAX_PIXELS)
    images.allow_pixels(196_000_000)
    assert open_image(path).size == (14_000, 14_000)


def test_png_of_16_bit_colours(tmp_path: Path) -> None:
    path, values = tmp_path / "deep.png", np.arange(105, dtype=np.uint16).reshape(5, 7, 3) * 600
    write_rgb48(path, values)
    read = open_raster(path, 3).array
    assert read.dtype == np.uint16 and (read == values).all()
    grey = values @ np.array([0.299, 0.587, 0.114])
    assert open_raster(path, 1).array[:, :, 0] == pytest.approx(grey)
    path.write_bytes(path.read_bytes()[:60])
    with pytest.raises(SegbenchError, match=r"deep\.png: is not a readable image.*\n  remedy: replace"):
        read_image(path, 3)


def test_ppm(tmp_path: Path) -> None:
    pixels = np.arange(60, dtype=np.uint8).reshape(4, 5, 3)
    path = tmp_path / "eye.ppm"
    path.write_bytes(b"P6\n5 4\n255\n" + pixels.tobytes())
    assert path.suffix in IMAGE_SUFFIXES and (read_image(path, 3) == pixels).all()
    path.write_bytes(b"P6\n5 4\n65535\n" + pixels.astype(">u2").tobytes())
    with pytest.raises(SegbenchError, match=r"eye\.ppm: has 16 bits in each of 3 channels"):
        read_image(path, 3)


def write_rgb48(path: Path, pixels: np.ndarray) -> None:
    encoder = av.CodecContext.create("png", "w")
    encoder.height, encoder.width, _ = pixels.shape
    encoder.pix_fmt, encoder.time_base = "rgb48be", Fraction(1, 1)
    frame = av.VideoFrame.from_ndarray(pixels, format="rgb48le").reformat(format="rgb48be")
    path.write_bytes(b"".join(map(bytes, [*encoder.encode(frame), *encoder.encode(None)])))
