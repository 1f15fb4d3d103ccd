"""Losses and matching costs of predicted masks."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F


def pairwise_cross_entropy(logits: Tensor, truth: Tensor, weight: Tensor) -> Tensor:
    """Compute the mean sigmoid cross-entropy of every prediction with every truth over weighted points.

    logits ... x Q x P, truth ... x N x P, weight ... x P -> ... x Q x N.
    """
    # -t log s(x) - (1 - t) log(1 - s(x)) = softplus(x) - t x
    total = (F.softplus(logits) @ weight[..., None]) - logits @ (truth * weight[..., None, :]).mT
    return total / weight.sum(-1)[..., None, None].clamp(min=1)


def pairwise_focal(logits: Tensor, truth: Tensor, weight: Tensor) -> Tensor:
    """Compute the mean focal loss (Lin et al. 2017; alpha .25, gamma 2) of all pairs.

    Shapes as in `pairwise_cross_entropy`.
    """
    probability, log_probability = logits.sigmoid(), F.logsigmoid(logits)
    inside = -0.25 * (1 - probability).square() * log_probability
    outside = 0.75 * probability.square() * (logits - log_probability)  # log(1 - s(x)) = log s(x) - x
    total = outside @ weight[..., None] + (inside - outside) @ (truth * weight[..., None, :]).mT
    return total / weight.sum(-1)[..., None, None].clamp(min=1)


def pairwise_dice(logits: Tensor, truth: Tensor, weight: Tensor) -> Tensor:
    """Compute 1 - soft Dice (smoothed by 1) of all pairs; shapes as in `pairwise_cross_entropy`."""
    weight = weight[..., None, :]
    truth = truth * weight
    both = logits.sigmoid() @ torch.cat([truth, weight], -2).mT  # one pass over the predictions
    total = both[..., -1:] + truth.sum(-1)[..., None, :]
    return 1 - (2 * both[..., :-1] + 1) / (total + 1)


def mask_cross_entropy(logits: Tensor, truth: Tensor, weight: Tensor) -> Tensor:
    """Compute the mean sigmoid cross-entropy of each mask over its weighted points: all N x P -> N."""
    loss = F.binary_cross_entropy_with_logits(logits, truth, reduction="none")
    return (loss * weight).sum(-1) / weight.sum(-1).clamp(min=1)


def mask_focal(logits: Tensor, truth: Tensor, weight: Tensor) -> Tensor:
    """Compute the mean focal loss (alpha .25, gamma 2) of each mask over its weighted points: N x P -> N.

    truth must be 0 or 1; this halves the passes over memory of `sigmoid_focal_loss`, which takes any truth.
    """
    right = logits * (2 * truth - 1)  # log odds of the true answer
    loss = (-right).sigmoid().square() * F.logsigmoid(right)
    return (loss * (0.5 * truth - 0.75) * weight).sum(-1) / weight.sum(-1).clamp(min=1)


def mask_dice(logits: Tensor, truth: Tensor, weight: Tensor) -> Tensor:
    """Compute 1 - soft Dice (smoothed by 1) of each mask over its weighted points: all N x P -> N."""
    probability, truth = logits.sigmoid() * weight, truth * weight
    return 1 - (2 * (probability * truth).sum(-1) + 1) / (probability.sum(-1) + truth.sum(-1) + 1)


def squared_dice(logits: Tensor, truth: Tensor, smooth: float = 1e-3) -> Tensor:
    """Compute 1 - soft Dice with squares in the denominator (Milletari 2016) of each mask: N x P -> N."""
    probability, truth = logits.float().sigmoid(), truth.float()
    total = probability.square().sum(-1) + truth.square().sum(-1) + 2 * smooth
    return 1 - 2 * (probability * truth).sum(-1) / total


def set_cross_entropy(logits: Tensor, labels: Tensor, no_object: float) -> Tensor:
    """Compute the sum of the cross-entropies of all queries of all layers.

    logits layers x B x Q x (classes + 1), labels layers x B x Q. The last class, "no object", has
    the weight `no_object`, the others 1.
    """
    weight = logits.new_ones(logits.shape[-1])
    weight[-1] = no_object
    return F.cross_entropy(logits.flatten(0, 2), labels.flatten(), weight, reduction="sum")
