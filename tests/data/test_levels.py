from __future__ import annotations

import io
import math
from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image

from segbench.contract.view import Category
from segbench.data.dataset import Converted, Sample
from segbench.data.images import image_size, open_raster, read_image
from segbench.data.levels import Levels, scaled, stretch, value_range
from segbench.data.loading.loader import SegmentationDataset
from segbench.data.loading.transforms import plain_transform
from segbench.errors import SegbenchError

RAMP = 1000 + np.arange(600).reshape(20, 30) % 300
"""300 of the 65,536 values of 16 bits."""


def encoded(pixels: np.ndarray) -> bytes:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "TIFF")
    return file.getvalue()


def converted(*pixels: np.ndarray) -> Converted:
    """Write a dataset whose last image is the test split."""
    truth = np.zeros((20, 30), int)
    truth[:5] = 1
    samples = [
        Sample("train" if i < len(pixels) else "test", f"{i}", encoded(p), ".tiff", semantic=truth)
        for i, p in enumerate(pixels, 1)
    ]
    categories = [Category(id=1, name="x", isthing=False, color=(9, 9, 9))]
    return Converted(categories, True, "test", samples, orientation="stored")


@pytest.mark.parametrize("dtype", [np.uint16, np.int32, np.float32])
@pytest.mark.parametrize("channels", [1, 3])
def test_all_levels_of_a_set_reach_the_network(write, dtype: type, channels: int):
    dataset = write(converted(RAMP.astype(dtype), (RAMP + 50).astype(dtype), RAMP.astype(dtype)), channels)
    assert dataset.info.levels == Levels(ranges=[(1000, 1349)] * channels, stated=False)
    train, test = dataset.split("train"), dataset.split("test")
    first, second = (train.read_image(record) for record in train)
    assert first.dtype == np.float32 and first.shape == (20, 30, channels)
    assert len(np.unique(first)) == 300
    assert first == pytest.approx((RAMP[:, :, None] - 1000) / 349 + np.zeros(channels), abs=1e-6)
    assert (test.read_image(test.images[0]) == first).all()  # one image, one mapping
    both = np.stack([first, second]).astype(float)
    assert dataset.info.mean == pytest.approx([both.mean()] * channels)
    assert dataset.info.std == pytest.approx([both.std()] * channels)


def test_a_training_sees_all_levels(write):
    dataset = write(converted(*[RAMP.astype(np.uint16)] * 2), 1)
    transform = plain_transform(dataset.info.mean, dataset.info.std)
    image, _ = SegmentationDataset(dataset.split("train"), dataset.view("semantic"), transform)[0]
    assert len(image.unique()) == 300
    assert float(image.mean()) == pytest.approx(0, abs=1e-4)
    assert float(image.std(correction=0)) == pytest.approx(1, abs=1e-4)


def test_a_set_of_8_and_16_bit(write):
    dataset = write(
        converted(RAMP.astype(np.uint16), (RAMP % 250).astype(np.uint8), RAMP.astype(np.uint16)), 1
    )
    split = dataset.split("train")
    deep, flat = (split.read_image(record) for record in split)
    assert (flat[:, :, 0] == ((RAMP % 250) / 255).astype(np.float32)).all()
    both = np.stack([deep, flat]).astype(float)
    assert dataset.info.mean == pytest.approx([both.mean()])
    assert dataset.info.std == pytest.approx([both.std()])


def test_a_set_of_8_bit_stays_so(write):
    pixels = (RAMP % 256).astype(np.uint8)
    dataset = write(converted(pixels, pixels), 1)
    split = dataset.split("train")
    assert dataset.info.levels is None
    assert (split.read_image(split.images[0])[:, :, 0] == pixels).all()


def test_faults_of_the_sensor_do_not_count():
    image = RAMP.astype(float)
    image[3, 4], image[10, 10], image[12, 20], image[15, 2] = 65535, -65535, math.nan, math.inf
    assert value_range(image) == (1000, 1299)
    scaled = stretch(image, value_range(image))
    assert [scaled[3, 4], scaled[10, 10], scaled[12, 20], scaled[15, 2]] == [1, 0, 0, 1]
    assert len(np.unique(scaled)) == 300


def test_what_is_no_fault_counts():
    bright = RAMP.astype(float)
    bright[3, 4:6] = 60000  # two pixels are an object
    assert value_range(bright)[1] == 60000
    near = RAMP.astype(float)
    near[3, 4] = 1400
    assert value_range(near)[1] == 1400
    assert value_range(np.full((3, 3), 7.0)) == (7, 7) and (stretch(np.full((3, 3), 7.0), (7, 7)) == 0).all()
    assert value_range(np.array([[5.0]])) == (5, 5)


def test_an_image_on_its_own_is_stretched(tmp_path: Path):
    path = tmp_path / "a.tiff"
    path.write_bytes(encoded(RAMP.astype(np.uint16)))
    image = read_image(path, 3)
    assert (image.dtype, image.min(), image.max()) == (np.uint8, 0, 255)


def test_an_image_without_a_number(tmp_path: Path):
    path = tmp_path / "a.tiff"
    path.write_bytes(encoded(np.full((3, 3), np.nan, np.float32)))
    with pytest.raises(SegbenchError, match=r"a\.tiff: has no finite pixel value"):
        read_image(path, 1)


def stack(*arrays: np.ndarray, dtype: type = np.uint16) -> np.ndarray:
    return np.stack(arrays, axis=2).astype(dtype)


def of_arrays(*images: np.ndarray) -> Converted:
    """Write a dataset of arrays whose last image is the test split."""
    dataset = converted(*[np.zeros((20, 30), np.uint8)] * len(images))
    for sample, image in zip(dataset.samples, images):
        sample.image, sample.suffix = image, ""
    return dataset


def test_each_channel_has_its_own_range(write):
    image = stack(RAMP, RAMP * 40, RAMP % 7)
    dataset = write(of_arrays(image, image, image), 3)
    assert dataset.info.levels == Levels(ranges=[(1000, 1299), (40000, 51960), (0, 6)], stated=False)
    read = dataset.split("train").read_image(dataset.split("train").images[0])
    expected = (image - np.array([1000, 40000, 0.0])) / [299, 11960, 6]
    assert read.dtype == np.float32 and read == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("dtype", [np.uint16, np.int16, np.float32])
@pytest.mark.parametrize(
    "window", [None, (-160, 240), [(-160, 240), (0, 1), (-1e4, 1e4), (5, 6), (0, 65535)]]
)
def test_statistics_equal_those_of_numpy(write, dtype: type, window):
    random = np.random.default_rng(0)
    images = [random.normal(300, 900, (20, 30, 5)) * [1, 0.001, 10, 1, 20] for _ in range(3)]
    if dtype != np.float32:
        images = [image.clip(np.iinfo(dtype).min, np.iinfo(dtype).max) for image in images]
    images = [image.astype(dtype) for image in images]
    dataset = write(of_arrays(*images, images[0]), 5, window=window)
    train = np.stack(images).astype(np.float64)
    ranges = (
        np.array([(c.min(), c.max()) for c in np.moveaxis(train, 3, 0)])
        if window is None
        else np.broadcast_to(window, (5, 2)).astype(float)
    )
    assert np.array(dataset.info.levels.ranges) == pytest.approx(ranges, rel=0, abs=0)
    low, high = ranges.T
    expected = ((train - low) / np.where(high > low, high - low, 1)).clip(0, 1)
    assert dataset.info.mean == pytest.approx(expected.mean((0, 1, 2)), abs=1e-6)
    assert dataset.info.std == pytest.approx(expected.std((0, 1, 2)), abs=1e-6)
    split = dataset.split("train")
    assert np.stack([split.read_image(r) for r in split]) == pytest.approx(expected, abs=1e-6)


def test_a_window_in_hounsfield_units(write):
    image = np.full((20, 30), -160, np.int16)
    image[0, :5] = [-1024, -60, 40, 240, 3000]
    dataset = write(of_arrays(image, image, image), 1, window=(-160, 240))
    assert dataset.info.levels == Levels(ranges=[(-160, 240)], stated=True)
    read = dataset.split("test").read_image(dataset.split("test").images[0])
    assert read[0, :6, 0].tolist() == [0, 0.25, 0.5, 1, 1, 0]
    assert dataset.info.mean == pytest.approx([2.75 / 600])


def test_a_window_applies_to_8_bit(write):
    image = (RAMP % 256).astype(np.uint8)
    dataset = write(of_arrays(image, image), 1, window=[(50, 150)])
    read = dataset.split("train").read_image(dataset.split("train").images[0])
    assert read[:, :, 0] == pytest.approx(((image - 50.0) / 100).clip(0, 1), abs=1e-6)
    assert dataset.info.mean == pytest.approx([read.astype(float).mean()], abs=1e-6)


def test_a_channel_without_a_number(write):
    image = stack(RAMP, RAMP, dtype=np.float32)
    image[:, :, 1] = np.nan
    with pytest.raises(SegbenchError, match=r"train/1: has no finite pixel value in channel 2"):
        write(of_arrays(image, image), 2)


def test_an_image_of_other_channels(write):
    images = [stack(RAMP, RAMP), stack(RAMP, RAMP, RAMP), stack(RAMP, RAMP)]
    with pytest.raises(SegbenchError, match=r"train/2: has 3 channels; 2 are expected\n.*`channels: 3`"):
        write(of_arrays(*images), 2)


@pytest.mark.parametrize(
    "image", [np.zeros((20, 30), np.int64), np.zeros(5, np.uint8), np.zeros((20, 30, 2, 2), np.uint8)]
)
def test_arrays_of_another_kind(write, image: np.ndarray):
    with pytest.raises(
        SegbenchError, match=r"(?s)train/1: is an array of shape .*\n  remedy: give height x width"
    ):
        write(of_arrays(image, image), 1)


def test_one_16_bit_colour_image_keeps_its_colours():
    image = stack(RAMP, RAMP * 2, RAMP * 3)
    expected = (image - 1000.0) / (3 * 1299 - 1000) * 255
    assert scaled(image, None) == pytest.approx(expected, abs=0.51)


def test_what_the_axes_are_is_kept_in_the_dataset(write, tmp_path: Path):
    """The size of the truth tells the axes of a TIFF file apart; later steps do not need it."""
    image = stack(*[RAMP + k for k in range(5)])
    tifffile.imwrite(tmp_path / "rows_are_pages.tif", image)
    dataset = converted(*[RAMP.astype(np.uint8)] * 2)
    for sample in dataset.samples:
        sample.image = tmp_path / "rows_are_pages.tif"
    split = write(dataset, 5).split("train")
    assert (open_raster(split.images[0].path, 5).array == image).all()
    assert image_size(split.images[0].path) == (30, 20)
    with tifffile.TiffFile(split.images[0].path) as file:
        assert file.series[0].axes == "YXS"
