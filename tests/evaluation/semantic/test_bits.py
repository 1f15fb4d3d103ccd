from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from segbench.evaluation.semantic import bits

masks = st.tuples(st.integers(1, 700), st.floats(0, 1), st.integers(0, 2**32 - 1)).map(
    lambda t: np.random.default_rng(t[2]).random(t[0]) < t[1]
)


@given(mask=masks, step=st.integers(0, 800))
@settings(max_examples=100, deadline=None)
def test_places_and_steps(mask, step):
    packed = bits.pack(mask)
    np.testing.assert_array_equal(bits.places(packed), np.flatnonzero(mask))
    moved = np.append(np.zeros(step, bool), mask)[: mask.size]
    np.testing.assert_array_equal(bits.places(bits.later(packed, step, mask.size)), np.flatnonzero(moved))


@given(mask=masks, step=st.integers(1, 300))
@settings(max_examples=100, deadline=None)
def test_grown(mask, step):
    spare = np.zeros(step // 64 + 1, np.uint64)
    found = bits.grown(np.append(bits.pack(mask), spare), step)
    earlier = np.append(mask[step:], np.zeros(min(step, mask.size), bool))
    np.testing.assert_array_equal(bits.places(found), np.flatnonzero(mask | earlier))


@given(mask=masks, marks=st.lists(st.integers(0, 10**6), max_size=20), other=st.integers(0, 2**32 - 1))
@settings(max_examples=100, deadline=None)
def test_counts_of_runs(mask, marks, other):
    starts = np.unique([0, *(m % mask.size for m in marks)])
    second = np.random.default_rng(other).random(mask.size) < 0.5
    for found, plain in zip(bits.counts([bits.pack(mask), bits.pack(second)], starts), (mask, second)):
        np.testing.assert_array_equal(found, np.add.reduceat(plain.astype(int), starts))
