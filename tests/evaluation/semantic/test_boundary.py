from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from segbench.evaluation.semantic import boundary
from segbench.evaluation.semantic import confusion as semantic
from segbench.evaluation.semantic.maps import regions


def measured(truth, predicted, classes, distances):
    found = regions(truth, predicted)
    matrix = semantic.confusion(found, classes)
    return boundary.measure(truth, predicted, found, matrix, distances)


def band(mask, width):
    """Cheng et al.: the mask less its erosion by 3 x 3, `width` times; outside the image there is no mask."""
    padded = np.pad(mask, 1)
    return mask & ~ndimage.binary_erosion(padded, np.ones((3, 3)), iterations=width)[1:-1, 1:-1]


def contour(mask):
    return mask & ~ndimage.binary_erosion(mask, np.ones((3, 3)), border_value=1)


@pytest.mark.parametrize("seed", range(4))
def test_equals_erosions_of_each_class(seed):
    rng = np.random.default_rng(seed)
    truth = np.kron(rng.integers(0, 5, (6, 8)), np.ones((11, 9), int)).astype(np.uint8)
    predicted = np.roll(truth, rng.integers(-3, 4, 2), (0, 1))
    predicted[rng.random(truth.shape) < 0.02] = 3
    check_against_erosions(truth, predicted, 5, boundary.Settings(0.03, 0.02))


@given(
    seed=st.integers(0, 2**32 - 1),
    shape=st.tuples(st.integers(1, 40), st.integers(1, 140)),
    cell=st.integers(1, 30),
    classes=st.sampled_from([2, 5, 12, 100]),
    distances=st.tuples(st.floats(0, 0.4), st.floats(0, 0.2)),
)
@settings(max_examples=60, deadline=None)
def test_equals_erosions_at_any_size(seed, shape, cell, classes, distances):
    rng = np.random.default_rng(seed)
    coarse = rng.integers(0, classes, (2, *shape)).astype(np.uint8)
    rows, columns = (np.arange(n) // cell for n in shape)
    truth, predicted = (m[rows][:, columns] for m in coarse)
    predicted = np.where(rng.random(shape) < 0.7, truth, predicted)
    check_against_erosions(truth, predicted, classes, boundary.Settings(*distances))


def check_against_erosions(truth, predicted, classes, distances):
    diagonal = np.hypot(*truth.shape)
    width, tolerance = (max(1, round(s * diagonal)) for s in (distances.width, distances.tolerance))
    found = measured(truth, predicted, classes, distances)
    square = np.ones((2 * tolerance + 1,) * 2)
    for c in np.union1d(truth, predicted):
        t, p = truth == c, predicted == c
        assert found["boundary_intersection"][c] == (band(t, width) & band(p, width)).sum()
        assert found["boundary_truth"][c] == band(t, width).sum()
        assert found["boundary_predicted"][c] == band(p, width).sum()
        t, p = contour(t), contour(p)
        assert found["contour_truth"][c] == t.sum() and found["contour_predicted"][c] == p.sum()
        assert found["contour_truth_hit"][c] == (t & ndimage.binary_dilation(p, square)).sum()
        assert found["contour_predicted_hit"][c] == (p & ndimage.binary_dilation(t, square)).sum()


@pytest.mark.parametrize("classes", [5, 90])
def test_void_bounds_nothing(classes):
    """What lies across it does: a pixel is near a class where a labelled pixel of that class is in reach."""
    rng = np.random.default_rng(classes)
    truth = np.kron(rng.integers(0, classes, (9, 10)), np.ones((7, 6), int)).astype(np.uint8)
    predicted = np.roll(truth, 2, 1)
    truth[rng.random(truth.shape) < 0.3] = classes
    known = truth != classes
    width = round(0.05 * np.hypot(*truth.shape))
    found = measured(truth, predicted, classes, boundary.Settings(0.05, 0.02))
    for labels, name in ((truth, "truth"), (predicted, "predicted")):
        for c in range(classes):
            own, other = known & (labels == c), known & (labels != c)
            adjacent = ndimage.binary_dilation(other, np.ones((3, 3)))
            reach = ndimage.binary_dilation(
                np.pad(other, 1, constant_values=True), np.ones((3, 3)), iterations=width
            )
            assert found[f"boundary_{name}"][c] == (own & reach[1:-1, 1:-1]).sum()
            assert found[f"contour_{name}"][c] == (own & adjacent).sum()


def test_no_contour_towards_void(semantic_scores):
    truth = np.ones((20, 20), int)
    truth[:, 10:] = 255
    scores = semantic_scores([truth], [np.ones((20, 20), int)], ["background", "a"])
    assert np.isnan(scores["boundary_f1", "a"])  # neither side has a contour
    assert scores["boundary_iou", "a"] == 1.0  # the image's border is one there


def test_shifted_object(semantic_scores):
    truth, near, far = np.zeros((3, 100, 100), int)
    truth[20:60, 20:60] = near[21:61, 20:60] = far[20:60, 30:70] = 1
    names = ["background", "a"]
    assert (
        semantic_scores([truth], [near], names)["boundary_f1", "a"] == 1.0
    )  # a pixel off is within tolerance
    scores = semantic_scores([truth], [far], names)
    contours = 156
    kept = 2 * 32  # rows that overlap: columns 29 to 60 of the top and the bottom, of either side
    assert scores["boundary_f1", "a"] == pytest.approx(kept / contours)
    assert 0 < scores["boundary_iou", "a"] < scores["miou", "a"]


def test_more_than_64_classes():
    truth = np.kron(np.arange(100).reshape(10, 10), np.ones((5, 5), int)).astype(np.uint8)
    found = measured(truth, truth, 100, boundary.Settings(0.01, 0.01))
    np.testing.assert_array_equal(found["contour_truth_hit"], found["contour_truth"])
    assert (found["contour_truth"] > 0).all()
