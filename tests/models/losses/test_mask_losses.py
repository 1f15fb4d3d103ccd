import pytest
import torch
from torch.nn import functional as F
from torchvision.ops import sigmoid_focal_loss

from segbench.models.losses.masks import (
    mask_cross_entropy,
    mask_dice,
    mask_focal,
    pairwise_cross_entropy,
    pairwise_dice,
    pairwise_focal,
    set_cross_entropy,
)


@pytest.fixture
def sampled():
    torch.manual_seed(0)
    logits, truth = 3 * torch.randn(2, 4, 50), (torch.rand(2, 3, 50) > 0.5).float()
    return logits, truth, (torch.rand(2, 50) > 0.3).float()


@pytest.mark.parametrize(
    ("pairwise", "single"),
    [
        (pairwise_cross_entropy, mask_cross_entropy),
        (pairwise_focal, mask_focal),
        (pairwise_dice, mask_dice),
    ],
)
def test_pairwise_costs_are_the_losses_of_all_pairs(sampled, pairwise, single):
    logits, truth, weight = sampled
    found = pairwise(logits, truth, weight)
    assert found.shape == (2, 4, 3)
    for b in range(2):
        for q in range(4):
            for n in range(3):
                expected = single(logits[b, q][None], truth[b, n][None], weight[b][None])[0]
                assert found[b, q, n].item() == pytest.approx(expected.item(), abs=1e-5)


def test_points_without_weight_do_not_count(sampled):
    logits, truth, weight = (x[:, 0] if x.dim() == 3 else x for x in sampled)
    kept = weight[0].bool()
    expected = F.binary_cross_entropy_with_logits(logits[0, kept], truth[0, kept])
    assert mask_cross_entropy(logits, truth, weight)[0].item() == pytest.approx(expected.item(), abs=1e-6)
    p, t = logits[0, kept].sigmoid(), truth[0, kept]
    dice = 1 - (2 * (p * t).sum() + 1) / (p.sum() + t.sum() + 1)
    assert mask_dice(logits, truth, weight)[0].item() == pytest.approx(dice.item(), abs=1e-6)
    nothing = torch.zeros_like(weight)
    assert not mask_cross_entropy(logits, truth, nothing).any()
    assert not mask_dice(logits, truth, nothing).any()


def test_set_cross_entropy_is_the_sum_of_weighted_losses():
    torch.manual_seed(0)
    logits, labels = torch.randn(2, 3, 5, 4), torch.randint(4, (2, 3, 5))
    weight = torch.tensor([1.0, 1.0, 1.0, 0.1])
    losses = -logits.log_softmax(-1).gather(-1, labels[..., None])[..., 0]
    expected = (losses * weight[labels]).sum()
    torch.testing.assert_close(set_cross_entropy(logits, labels, 0.1), expected)


def test_focal_loss_is_that_of_torchvision(sampled):
    logits, truth, weight = sampled
    logits = (10 * logits[:, 0]).requires_grad_()
    expected = sigmoid_focal_loss(logits, truth[:, 0]) * weight
    expected = expected.sum(-1) / weight.sum(-1)
    found = mask_focal(logits, truth[:, 0], weight)
    torch.testing.assert_close(found, expected)
    gradients = [torch.autograd.grad(loss.sum(), logits, retain_graph=True) for loss in (found, expected)]
    torch.testing.assert_close(*gradients)
