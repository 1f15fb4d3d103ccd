import math

import pytest
import torch

from segbench.models.losses.binary import binary_losses

LN3 = math.log(3.0)  # the logit of the probability 3/4


@pytest.fixture
def two_classes():
    """Three pixels and two classes that overlap on the first pixel; the third pixel is void."""
    logits = torch.tensor([[LN3, -LN3, 50.0], [LN3, LN3, -50.0]])[None, :, None].requires_grad_()
    truth = torch.tensor([[True, False, False], [True, False, True]])[None, :, None]
    return logits, truth, torch.tensor([[[True, True, False]]])


def test_each_class_is_a_binary_problem(two_classes):
    found = binary_losses(*two_classes, {"cross_entropy": 2.0, "dice": 3.0})
    # three answers have the probability 3/4 of being right, one has 1/4
    assert found["cross_entropy"].item() == pytest.approx(2 * -(3 * math.log(0.75) + math.log(0.25)) / 4)
    # class 0: 3/4 of 1 + 1 in common; class 1: 3/4 of 1 + 3/2. Both are smoothed by 1
    dice = [(2 * 0.75 + 1) / (1 + 1 + 1), (2 * 0.75 + 1) / (1 + 1.5 + 1)]
    assert found["dice"].item() == pytest.approx(3 * (1 - sum(dice) / 2))


def test_void_pixels_have_no_gradient(two_classes):
    logits, truth, valid = two_classes
    sum(binary_losses(logits, truth, valid, {"cross_entropy": 1.0, "dice": 1.0}).values()).backward()
    assert (logits.grad[0, :, 0] != 0).tolist() == [[True, True, False]] * 2


def test_nothing_labelled_is_no_cross_entropy(two_classes):
    logits, truth, valid = two_classes
    found = binary_losses(logits, truth, valid & False, {"cross_entropy": 1.0, "dice": 1.0})
    assert found["cross_entropy"].item() == 0 and found["dice"].item() == 0
