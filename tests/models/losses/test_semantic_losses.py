import pytest
import torch

from segbench.contract.prediction import IGNORE
from segbench.models.losses.semantic import ohem_cross_entropy, semantic_losses


@pytest.fixture
def sampled():
    """Two classes, truth 0 everywhere it is known: the loss is log(1 + exp(logit of class 1))."""
    losses = torch.tensor([[0.1, 0.5, 2.0, 3.0, 9.0]])
    logits = torch.stack([torch.zeros(1, 5), losses.expm1().log()])[None]
    truth = torch.tensor([[[0, 0, 0, 0, IGNORE]]])
    return logits.requires_grad_(), truth


def test_the_hardest_labelled_pixels_count(sampled):
    logits, truth = sampled
    loss = ohem_cross_entropy(logits, truth, hardest=0.5)
    assert loss.item() == pytest.approx((3.0 + 2.0) / 2)
    loss.backward()
    assert (logits.grad[0, 0, 0] != 0).tolist() == [False, False, True, True, False]
    assert ohem_cross_entropy(logits, truth, hardest=0.01).item() == pytest.approx(3.0)
    assert ohem_cross_entropy(logits, truth, hardest=1.0).item() == pytest.approx(5.6 / 4)


def test_weights_come_before_mining(sampled):
    logits, truth = sampled
    weight = torch.tensor([[[1.0, 8.0, 1.0, 1.0, 1.0]]])
    assert ohem_cross_entropy(logits, truth, 0.5, weight).item() == pytest.approx((4.0 + 3.0) / 2)


def test_nothing_labelled_is_no_loss(sampled):
    logits, truth = sampled
    loss = ohem_cross_entropy(logits, torch.full_like(truth, IGNORE))
    loss.backward()
    assert loss.item() == 0 and not logits.grad.any()


def test_losses_go_by_name(sampled):
    logits, truth = sampled
    found = semantic_losses(logits, truth, {"cross_entropy": 2.0, "ohem": 1.0})
    assert found["cross_entropy"].item() == pytest.approx(2 * 5.6 / 4)
    assert found["ohem"].item() == pytest.approx(3.0)  # a fifth of four pixels: one
