from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import ndimage

from segbench.evaluation.semantic.cases import measure

SPACING = (5.0, 1.0, 2.0)
SHAPE = (6, 8, 8)


def box(z: tuple[int, int], y: tuple[int, int], x: tuple[int, int]) -> np.ndarray:
    mask = np.zeros(SHAPE, bool)
    mask[slice(*z), slice(*y), slice(*x)] = True
    return mask


TRUTH = box((1, 3), (2, 6), (2, 6))


@pytest.mark.parametrize(
    ("guess", "tolerance", "dice", "hd95", "nsd"),
    [
        # all voxels of the boxes are surface; half of each is in a slice 5 mm from the other box
        pytest.param(box((2, 4), (2, 6), (2, 6)), 4.9, 0.5, 5.0, 0.5, id="one slice"),
        pytest.param(box((2, 4), (2, 6), (2, 6)), 5.0, 0.5, 5.0, 1.0, id="one slice, tolerated"),
        # a quarter of each is in a column 2 mm from the other box
        pytest.param(box((1, 3), (2, 6), (3, 7)), 1.9, 0.75, 2.0, 0.75, id="one column"),
        pytest.param(box((1, 3), (3, 7), (2, 6)), 1.0, 0.75, 1.0, 1.0, id="one row"),
        pytest.param(TRUTH, 0.1, 1.0, 0.0, 1.0, id="truth"),
        # 16 of the 48 predicted voxels are too much, 2 or 4 mm away
        pytest.param(box((1, 3), (2, 6), (0, 6)), 1.9, 2 * 32 / (32 + 48), 4.0, 64 / 80, id="two columns"),
    ],
)
def test_boxes_by_hand(guess, tolerance, dice, hd95, nsd) -> None:
    found = measure(TRUTH, guess, SPACING, tolerance)
    assert found == pytest.approx({"case_dice": dice, "case_hd95": hd95, "case_nsd": nsd})
    assert measure(guess, TRUTH, SPACING, tolerance) == pytest.approx(found)


def test_inner_voxels_are_no_surface() -> None:
    """The centre of a 3 x 3 x 3 box does not belong to the surface, but is the other mask."""
    cube, centre = box((1, 4), (2, 5), (2, 5)), box((2, 3), (3, 4), (3, 4))
    found = measure(cube, centre, SPACING, 1.0)
    distances = sorted(
        math.hypot(5 * z, y, 2 * x)
        for z in (-1, 0, 1)
        for y in (-1, 0, 1)
        for x in (-1, 0, 1)
        if (z, y, x) != (0, 0, 0)
    )
    assert found["case_hd95"] == pytest.approx(np.percentile(distances, 95))
    assert found["case_nsd"] == pytest.approx((2 + 1) / (26 + 1))  # the rows beside, and the centre


def test_empty_masks() -> None:
    nothing = np.zeros(SHAPE, bool)
    assert all(math.isnan(v) for v in measure(nothing, nothing, SPACING, 2.0).values())
    longest = math.sqrt((5 * 5) ** 2 + 7**2 + (7 * 2) ** 2)
    for truth, guess in ((TRUTH, nothing), (nothing, TRUTH)):
        found = measure(truth, guess, SPACING, 2.0)
        assert found == pytest.approx({"case_dice": 0, "case_hd95": longest, "case_nsd": 0})


def random_masks(seed: int) -> tuple[np.ndarray, np.ndarray, tuple[float, ...]]:
    rng = np.random.default_rng(seed)
    shape = tuple(rng.integers(3, 14, 3))
    smooth = [ndimage.gaussian_filter(rng.normal(size=shape), 1.5) for _ in range(2)]
    other = smooth[0] + 0.7 * smooth[1]
    return smooth[0] > 0, other > 0.02, tuple(rng.uniform(0.4, 6, 3))


@pytest.mark.parametrize("seed", range(20))
def test_equal_to_distance_transforms(seed: int) -> None:
    truth, guess, spacing = random_masks(seed)
    assert truth.any() and guess.any()
    edges = [m & ~ndimage.binary_erosion(m) for m in (truth, guess)]
    maps = [ndimage.distance_transform_edt(~edge, sampling=spacing) for edge in edges]
    there, back = maps[1][edges[0]], maps[0][edges[1]]
    found = measure(truth, guess, spacing, 2.0)
    assert found["case_hd95"] == pytest.approx(max(np.percentile(there, 95), np.percentile(back, 95)))
    near = (there <= 2).sum() + (back <= 2).sum()
    assert found["case_nsd"] == pytest.approx(near / (len(there) + len(back)))
    assert found["case_dice"] == pytest.approx(2 * (truth & guess).sum() / (truth.sum() + guess.sum()))


@pytest.mark.slow
def test_equal_to_monai() -> None:
    import torch
    from monai.metrics.hausdorff_distance import compute_hausdorff_distance
    from monai.metrics.surface_dice import compute_surface_dice

    for seed in range(10):
        truth, guess, spacing = random_masks(seed)
        a, b = (torch.from_numpy(m)[None, None].float() for m in (guess, truth))
        options = {"include_background": True, "spacing": spacing}
        found = measure(truth, guess, spacing, 2.0)
        hd95 = compute_hausdorff_distance(a, b, percentile=95, **options)
        assert found["case_hd95"] == pytest.approx(hd95.item(), rel=1e-5)
        nsd = compute_surface_dice(a, b, [2.0], **options)
        assert found["case_nsd"] == pytest.approx(nsd.item(), rel=1e-5)
