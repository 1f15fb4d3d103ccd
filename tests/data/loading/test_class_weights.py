from __future__ import annotations

import math

import numpy as np
import pytest

from segbench.data.dataset import Dataset
from segbench.data.loading.class_weights import class_weights, inverse_log, median_frequency
from segbench.errors import SegbenchError

PIXELS = np.array([60, 30, 0, 10])
"""Two images of 50 labelled pixels: 40 + 0 + 0 + 10 and 20 + 30."""
SHOWN = np.array([100, 50, 0, 50])


def test_median_frequency_by_hand() -> None:
    assert median_frequency(PIXELS, SHOWN) == pytest.approx([1, 1, 1, 3])  # of 0.6, 0.6 and 0.2


def test_inverse_log_by_hand() -> None:
    expected = [1 / math.log(1.62), 1 / math.log(1.32), 1, 1 / math.log(1.12)]
    assert inverse_log(PIXELS, SHOWN) == pytest.approx(expected)


def test_weights_of_a_dataset_count_its_labelled_pixels(shapes) -> None:
    dataset = Dataset(shapes)
    split, view = dataset.split("train"), dataset.view("semantic")
    maps = [split.read_semantic(record.stem) for record in split.images]
    ids = [c.id for c in view.classes]
    pixels = np.array([sum((m == i).sum() for m in maps) for i in ids])
    shown = np.array([sum((m >= 0).sum() for m in maps if (m == i).any()) for i in ids])
    assert class_weights("median_frequency", split, view) == pytest.approx(median_frequency(pixels, shown))
    assert class_weights("inverse_log", split, view) == pytest.approx(inverse_log(pixels, shown))


@pytest.mark.parametrize(
    ("given", "said"),
    [([1.0, 2.0], "has 2 numbers for 4 classes"), ([0.0] * 4, "has 4 numbers, all of them 0")],
)
def test_a_number_for_each_class(shapes, given, said) -> None:
    dataset = Dataset(shapes)
    with pytest.raises(SegbenchError, match=f"(?s)class_weights: {said}.*sky, ground, box, disc") as error:
        class_weights(given, dataset.split("train"), dataset.view("semantic"))
    assert "in this order" in str(error.value)
    right = [1.0, 0.0, 2.0, 3.0]
    assert class_weights(right, dataset.split("train"), dataset.view("semantic")) == right
