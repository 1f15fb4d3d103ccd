"""The losses that networks share. Every function takes logits, never probabilities."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

IGNORE = -100
"""Index of void pixels in semantic targets (the default `ignore_index` of torch's cross-entropy)."""


def cross_entropy(logits: Tensor, truth: Tensor) -> Tensor:
    """Mean over pixels that are not void. logits B x C x H x W, truth B x H x W; 0 where all is void."""
    total = F.cross_entropy(logits.float(), truth, ignore_index=IGNORE, reduction="sum")
    return total / (truth != IGNORE).sum().clamp(min=1)


def ohem_cross_entropy(
    logits: Tensor, truth: Tensor, hardest: float = 0.2, weight: Tensor | None = None
) -> Tensor:
    """Online hard example mining: mean over the share `hardest` of the labelled pixels with the highest loss.

    Shapes as in `cross_entropy`; weight B x H x W multiplies the losses first. Without a label: 0.
    Yang et al. 2019, DeeperLab, 1902.05093, section 3.2 (there "weighted bootstrapped cross-entropy").
    """
    losses = F.cross_entropy(logits.float(), truth, ignore_index=IGNORE, reduction="none")
    if weight is not None:
        losses = losses * weight
    labelled = int((truth != IGNORE).sum())
    return losses.flatten().topk(max(1, int(hardest * labelled))).values.mean()


def soft_dice(logits: Tensor, truth: Tensor, smooth: float = 1.0) -> Tensor:
    """1 - soft Dice (Milletari 2016), mean over the classes; pixels of the batch pooled, void left out."""
    keep = truth != IGNORE
    probability = logits.float().softmax(1) * keep[:, None]
    one_hot = torch.zeros_like(probability).scatter_(1, truth.clamp(min=0)[:, None], 1.0) * keep[:, None]
    both = (probability * one_hot).sum((0, 2, 3))
    total = (probability + one_hot).sum((0, 2, 3))
    return 1 - ((2 * both + smooth) / (total + smooth)).mean()


SEMANTIC_LOSSES = {"cross_entropy": cross_entropy, "ohem": ohem_cross_entropy, "dice": soft_dice}


def semantic_losses(logits: Tensor, truth: Tensor, weights: dict[str, float]) -> dict[str, Tensor]:
    """The named losses, each times its weight."""
    return {name: weight * SEMANTIC_LOSSES[name](logits, truth) for name, weight in weights.items()}
