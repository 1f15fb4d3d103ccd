"""The outline of a mask as one ring, filled by pycocotools, is the mask."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from segbench.data.coco.masks import decode, to_rle
from segbench.exchange.export.rings import ring


def filled(corners: list[tuple[int, int]], shape: tuple[int, int]) -> np.ndarray:
    return decode(to_rle([[float(v) for corner in corners for v in corner]], *shape))


@given(arrays(bool, array_shapes(min_dims=2, max_dims=2, max_side=9), elements=st.booleans()))
def test_any_mask(mask: np.ndarray) -> None:
    if mask.any():
        assert (filled(ring(mask), mask.shape) == mask).all()


def test_a_rectangle_has_four_corners() -> None:
    mask = np.zeros((5, 7), bool)
    mask[1:3, 2:6] = True
    assert ring(mask) == [(2, 1), (6, 1), (6, 3), (2, 3)]


@pytest.mark.parametrize("flip", [False, True])
def test_pixels_that_touch_at_a_point(flip: bool) -> None:
    mask = np.eye(2, dtype=bool)
    mask = mask[:, ::-1] if flip else mask
    assert (filled(ring(mask), (2, 2)) == mask).all()
