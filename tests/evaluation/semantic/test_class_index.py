from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from segbench.errors import SegbenchError
from segbench.evaluation.semantic.confusion import ClassIndex

consecutive = st.integers(1, 200).map(lambda n: list(range(n)))
scattered = st.lists(st.integers(0, 254), min_size=1, max_size=40, unique=True)


@given(ids=consecutive | scattered, void=st.none() | st.just(255), seed=st.integers(0, 2**32 - 1))
@settings(max_examples=100, deadline=None)
def test_equals_a_look_up_of_each_value(ids, void, seed):
    index, rng = ClassIndex(ids, void), np.random.default_rng(seed)
    known = ids if void is None else [*ids, void]
    plain = {value: place for place, value in enumerate(ids)} | {void: len(ids)}
    labels = rng.choice(known, (5, 7)).astype(rng.choice([np.uint8, np.uint16]))
    expected = [[plain[v] for v in row] for row in labels.tolist()]
    assert index.truth(labels, "").tolist() == expected
    assert index.prediction(labels, "").tolist() == expected
    if 0 not in ids:
        labels[2, 3], expected[2][3] = 0, len(ids)
        assert index.prediction(labels, "").tolist() == expected
    unknown = sorted(set(range(255)) - set(known))
    if unknown:
        labels[1, 4] = unknown[seed % len(unknown)]
        with pytest.raises(SegbenchError, match="row 1, column 4"):
            index.truth(labels, "")
