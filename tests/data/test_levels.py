from __future__ import annotations

import io
import math
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from segbench.contract.view import Category
from segbench.data.dataset import Converted, Sample
from segbench.data.images import read_image
from segbench.data.levels import Levels, stretch, value_range
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
