from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from segbench.data.coco.masks import decode, encode
from segbench.prediction.outlines import framed, outlines, seen_in, union


@settings(deadline=None, max_examples=50)
@given(st.integers(0, 2**32), st.sampled_from([0.05, 0.5, 1.0]))
def test_masks_in_a_frame(seed: int, density: float) -> None:
    """Run lengths are those of the whole image, in which runs go on from column to column."""
    random = np.random.default_rng(seed)
    whole = np.zeros(random.integers(1, 9, 2), bool)
    top, left = (int(random.integers(n)) for n in whole.shape)
    high, wide = (int(random.integers(0, n - k + 1)) for n, k in zip(whole.shape, (top, left)))
    part = whole[top : top + high, left : left + wide]
    part[:] = random.random(part.shape) < density
    assert framed(part, top, left, whole.shape) == encode(whole)


def test_outlines_of_a_tile() -> None:
    masks = np.zeros((2, 8, 10), bool)
    masks[0, 2:5, 3:9] = masks[1, 7, 9] = True
    wide, point = outlines(masks, 100, 200)
    assert wide.region == (slice(102, 105), slice(203, 209))
    assert point.region == (slice(107, 108), slice(209, 210))
    assert decode(seen_in(wide, (slice(104, 110), slice(190, 206)))).nonzero()[0].tolist() == [0, 0, 0]
    assert not decode(seen_in(point, (slice(0, 50), slice(0, 50)))).any()
    both = decode(union([wide, point], (120, 220)))
    assert both.sum() == 19 and both[102:105, 203:209].all() and both[107, 209]
