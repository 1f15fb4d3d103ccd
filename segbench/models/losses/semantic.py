"""The losses that networks share. Every function takes logits, never probabilities."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F
from torchvision.ops import sigmoid_focal_loss

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


def class_focal(logits: Tensor, labels: Tensor, alpha: float = 0.25, gamma: float = 2.0) -> Tensor:
    """Sum of the focal losses (Lin et al. 2017) of all classes, each against the rest.

    logits ... x classes; labels ..., where the number of classes stands for the background.
    """
    truth = F.one_hot(labels, logits.shape[-1] + 1)[..., :-1].float()
    return sigmoid_focal_loss(logits.float(), truth, alpha, gamma, reduction="sum")


def side_giou(found: Tensor, truth: Tensor) -> Tensor:
    """1 - generalised IoU (Rezatofighi et al. 2019) of boxes that share a point: both N x 4 -> N.

    Boxes are distances from the point to their left, upper, right and lower side, in units of the stride. As
    in the authors' FCOS the IoU's areas have 1 added, which `generalized_box_iou_loss` has not.
    """

    def area(sides: Tensor) -> Tensor:
        return (sides[:, 0] + sides[:, 2]) * (sides[:, 1] + sides[:, 3])

    both, hull = area(torch.minimum(found, truth)), area(torch.maximum(found, truth))
    union = area(found) + area(truth) - both
    return 1 - (both + 1) / (union + 1) + (hull - union) / hull


SEMANTIC_LOSSES = {"cross_entropy": cross_entropy, "ohem": ohem_cross_entropy, "dice": soft_dice}


def semantic_losses(logits: Tensor, truth: Tensor, weights: dict[str, float]) -> dict[str, Tensor]:
    """The named losses, each times its weight."""
    return {name: weight * SEMANTIC_LOSSES[name](logits, truth) for name, weight in weights.items()}
