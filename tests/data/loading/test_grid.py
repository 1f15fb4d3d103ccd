"""A truth that is read inside of a window is the one that is read as a whole, then cropped and resized."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from pycocotools import mask as coco
from torchvision.transforms import InterpolationMode
from torchvision.transforms.v2 import functional as F

from segbench.contract.recipe import Augment, BorderWeights
from segbench.contract.view import Task
from segbench.data.coco.masks import decode_at
from segbench.data.dataset import Dataset, ImageRecord
from segbench.data.loading.grid import Grid
from segbench.data.loading.loader import SegmentationDataset
from segbench.data.loading.targets import numbered
from segbench.data.loading.transforms import training_transform
from segbench.errors import SegbenchError

RECORD = ImageRecord(1, Path("images"), "a", ".png")


def tie(span: slice, length: int) -> np.ndarray:
    """Return 1 for each place that is halfway between two pixels, else 0."""
    exact = (np.arange(length) + 0.5) * (span.stop - span.start) / length
    return (abs(exact - exact.round()) < 1e-4).astype(int)


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_a_grid_takes_the_pixels_of_the_nearest_mode(data: st.DataObject) -> None:
    size = data.draw(st.tuples(st.integers(1, 60), st.integers(1, 60)))
    window = []
    for length in size:
        start = data.draw(st.integers(0, length - 1))
        window.append(slice(start, data.draw(st.integers(start + 1, length))))
    new = data.draw(st.lists(st.integers(1, 150), min_size=2, max_size=2))
    values = np.arange(size[0] * size[1], dtype=np.int32).reshape(size)
    cropped = torch.from_numpy(values[window[0], window[1]])[None]
    expected = F.resize_image(cropped, new, InterpolationMode.NEAREST_EXACT)[0].numpy()
    grid = Grid.of_window(size, window, new)
    assert grid.shape == tuple(new)
    ties = np.add.outer(*(tie(span, length) for span, length in zip(window, new)))
    np.testing.assert_array_equal(grid.of(values, RECORD)[ties == 0], expected[ties == 0])
    mask = values % 7 < 3
    rle = coco.encode(np.asfortranarray(mask, np.uint8))
    found = np.zeros(grid.shape, bool)
    ((box, pixels),) = decode_at([rle], grid.rows, grid.columns)
    found[box] = pixels
    np.testing.assert_array_equal(found, grid.of(mask, RECORD))


def test_masks_without_pixels_in_the_window_are_empty() -> None:
    full, none = np.ones((4, 5), np.uint8), np.zeros((4, 5), np.uint8)
    corner = none.copy()
    corner[0, 0] = 1
    rles = [coco.encode(np.asfortranarray(mask)) for mask in (full, none, corner)]
    found = [pixels for _, pixels in decode_at(rles, np.array([2, 2, 3]), np.array([1, 4]))]
    assert found[0].shape == (3, 2) and found[0].all() and not found[1].size and not found[2].size
    assert not list(decode_at([], np.arange(4), np.arange(5)))


def test_a_truth_of_another_size_is_refused() -> None:
    with pytest.raises(SegbenchError, match=r"a\.png: has height and width \(4, 5\), its truth has \(5, 4\)"):
        Grid.whole((4, 5)).of(np.zeros((5, 4)), RECORD)


def test_numbers_of_ids() -> None:
    ids = np.array([[7, 7, 0, 2**24 - 1], [3, 9, 9, 9], [9, 7, 8, 8]])
    found = numbered(ids, np.array([0, 7, 8, 2**24 - 1]), np.array([0, 2, 1, 2], np.int32))
    assert found.tolist() == [[2, 2, 0, 2], [0, 0, 0, 0], [0, 2, 1, 1]]


AUGMENTS = {
    "smaller": {"scale": [0.3, 0.9], "crop": [24, 20], "color_jitter": 0.4},
    "larger": {"scale": [1.1, 3.0], "crop": [30, 40], "photometric": {}},
    "padded": {"scale": [0.5, 1.0], "crop": [90, 10], "vertical_flip": True},
    "whole": {"short_sides": [25, 70], "max_side": 90},
}


@pytest.mark.parametrize("augment", AUGMENTS)
@pytest.mark.parametrize("task", ["semantic", "instance", "panoptic", "detection", "borders"])
def test_items_are_those_of_the_whole_image(shapes: Path, task: Task | str, augment: str) -> None:
    dataset = Dataset(shapes)
    transform = training_transform(Augment.model_validate(AUGMENTS[augment]), [0.4] * 3, [0.2] * 3)
    view = dataset.view("semantic" if task == "borders" else task)  # type: ignore[arg-type]
    borders = BorderWeights() if task == "borders" else None
    ours, whole = (SegmentationDataset(dataset.split("train"), view, transform, borders) for _ in range(2))
    assert ours._window is not None
    whole._window, whole._rest = None, transform  # crops the truth as the image
    for index in range(4):
        torch.manual_seed(index)
        image, target = ours[index]
        torch.manual_seed(index)
        expected, truth = whole[index]
        assert torch.equal(image, expected) and target.keys() == truth.keys()
        for key, value in target.items():
            assert torch.equal(torch.as_tensor(value), torch.as_tensor(truth[key])), key
