from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy.ndimage import distance_transform_edt

from segbench.contract.recipe import BorderWeights
from segbench.data.dataset import Dataset
from segbench.data.loading.borders import border_weights
from segbench.data.loading.loader import SegmentationDataset, collate
from segbench.data.loading.transforms import plain_transform

PAPER = BorderWeights(w0=10, sigma=5)


def test_weight_of_the_gap_between_two_objects_by_hand() -> None:
    """Two columns of objects with five pixels between; further away, both distances grow."""
    layers = torch.zeros(1, 3, 20, dtype=torch.int32)
    layers[0, :, 2], layers[0, :, 8] = 1, 2
    weight = border_weights(layers, PAPER)
    gap = 10 * math.exp(-(6**2) / 50)  # d1 + d2 is 6 everywhere between
    assert weight[1, 3:8].tolist() == pytest.approx([gap] * 5)
    assert weight[0, 12].item() == pytest.approx(10 * math.exp(-((4 + 10) ** 2) / 50))
    assert weight[:, 2].eq(0).all() and weight[:, 8].eq(0).all()


def test_equals_distances_to_every_object_over_the_whole_image() -> None:
    """Nine discs; some are in a second layer, as if they overlapped."""
    y, x = np.mgrid[:70, :90]
    rng = np.random.default_rng(0)
    layers = np.zeros((2, 70, 90), np.int32)
    for number, (cy, cx) in enumerate(rng.uniform(0, (70, 90), (9, 2)), 1):
        mask = (y - cy) ** 2 + (x - cx) ** 2 <= 30
        layers[number % 2][mask] = number
    distances = [distance_transform_edt(~(layers == number).any(0)) for number in range(1, 10)]
    nearest = np.sort(distances, axis=0)
    expected = 4 * np.exp(-((nearest[0] + nearest[1]) ** 2) / (2 * 3**2)) * (nearest[0] > 0)
    found = border_weights(torch.from_numpy(layers), BorderWeights(w0=4, sigma=3))
    assert expected.max() > 0.5
    np.testing.assert_allclose(found.numpy(), expected, atol=1e-6)


@pytest.mark.parametrize("objects", [0, 1])
def test_no_border_without_two_objects(objects: int) -> None:
    layers = torch.zeros(1, 8, 8, dtype=torch.int32)
    layers[0, 2:4, 2:4] = objects
    assert not border_weights(layers, PAPER).any()


def test_targets_of_a_semantic_view_have_borders(shapes) -> None:
    dataset = Dataset(shapes)
    images = [
        SegmentationDataset(
            dataset.split("train"), dataset.view("semantic"), plain_transform([0], [1]), borders
        )
        for borders in (None, BorderWeights(w0=10, sigma=20))
    ]
    (plain, with_borders) = (i[1][1] for i in images)
    assert "border" not in plain and torch.equal(plain["semantic"], with_borders["semantic"])
    border = with_borders["border"]
    assert border.shape == plain["semantic"].shape and 0 < border.max() < 10
    things = torch.tensor(dataset.view("semantic").thing_indices)
    assert not border[torch.isin(plain["semantic"], things)].any()
    _, targets = collate([images[1][0], images[1][1]])  # of two sizes: padded with 0
    assert targets[0]["border"].shape == targets[1]["border"].shape
    assert targets[1]["border"].sum() == border.sum()
