from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from skimage.measure import regionprops

from segbench.data.coco.masks import encode, major_axes


@given(arrays(bool, st.tuples(st.integers(1, 9), st.integers(1, 9))))
@settings(max_examples=60, deadline=None)
def test_equal_to_scikit_image_but_for_the_extent_of_pixels(mask: np.ndarray) -> None:
    """scikit-image takes pixels for points; a square of side 1 adds 1 / 12 to each variance."""
    (found,) = major_axes([encode(mask)])
    if not mask.any():
        assert found == 0
        return
    (region,) = regionprops(mask.astype(int))
    assert found == pytest.approx(math.sqrt(region.axis_major_length**2 + 16 / 12), rel=1e-6)


def test_lengths_in_pixels() -> None:
    y, x = np.mgrid[:60, :80]
    ellipse = ((x - 40) / 30) ** 2 + ((y - 30) / 10) ** 2 <= 1
    diagonal = np.eye(60, 80, dtype=bool)
    line = np.zeros((60, 80), bool)
    line[7, 5:25] = True
    found = major_axes([encode(m) for m in (ellipse, diagonal, line, np.zeros((60, 80), bool))])
    assert found[0] == pytest.approx(60, rel=0.01)
    assert found[1] == pytest.approx(2 / math.sqrt(3) * 60 * math.sqrt(2), rel=0.01)
    assert found[2] == pytest.approx(2 / math.sqrt(3) * 20)
    assert found[3] == 0
