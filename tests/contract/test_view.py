import numpy as np
import pytest
import torch

from segbench.contract.view import has_class, void_value


@pytest.mark.parametrize("make", [np.array, torch.tensor])
def test_a_class_is_a_bit_of_a_map_and_void_has_none(make):
    values = make([[0, 1, 2], [3, 6, -1]])
    found = [has_class(values, index).tolist() for index in range(3)]
    assert found[0] == [[False, True, False], [True, False, False]]
    assert found[1] == [[False, False, True], [True, True, False]]
    assert found[2] == [[False, False, False], [False, True, False]]


def test_the_value_of_void_is_no_label():
    assert [void_value(n) for n in (254, 255)] == [255, 65535]
    assert [void_value(n, overlapping=True) for n in (7, 8, 15)] == [255, 65535, 65535]
    assert 2**7 - 1 < 255 and 2**15 - 1 < 65535  # all classes at once
