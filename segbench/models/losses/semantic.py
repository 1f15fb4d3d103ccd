"""Losses of semantic segmentation. All functions take logits, not probabilities.

Means are over the whole batch, see `whole_batch`.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from segbench.contract.prediction import IGNORE
from segbench.copying import upload
from segbench.models.whole_batch import divided, gathered, total


class PixelWeights(NamedTuple):
    """Weights of the pixels of a batch in the cross-entropy."""

    weight: Tensor | None
    """B x H x W; None: each has the weight 1."""
    divisor: Tensor
    """What the sum over the whole batch is divided by."""


def pixel_weights(truth: Tensor, classes: Tensor | None, border: Tensor | None) -> PixelWeights:
    """Combine weights of classes and borders, as the U-Net (Ronneberger et al. 2015, equation 2) adds them.

    The sum is divided by that of the class weights, as in torch's cross-entropy. The weights of borders are
    added to it.

    Args:
        truth: B x H x W, `IGNORE` on void.
        classes: weight of each class, by which `truth` is looked up; None: 1.
        border: B x H x W additional weights; None: 0.
    """
    labelled = truth != IGNORE
    if classes is None and border is None:
        return PixelWeights(None, total(labelled.sum()).clamp(min=1))
    weight = labelled.float() if classes is None else classes[truth.clamp(min=0)] * labelled
    count = total(weight.sum())
    count = torch.where(count > 0, count, 1)
    return PixelWeights(weight if border is None else weight + border * labelled, count)


def cross_entropy(
    logits: Tensor, truth: Tensor, weight: Tensor | None = None, divisor: Tensor | None = None
) -> Tensor:
    """Compute the mean cross-entropy over the pixels that are not void.

    Args:
        logits: B x classes x H x W.
        truth: B x H x W int64 class indices, `IGNORE` on void.
        weight: B x H x W weight of each pixel; None: 1.
        divisor: what the sum over the whole batch is divided by; None: its number of labelled pixels.

    Returns:
        A scalar; 0 if every pixel is void.
    """
    if divisor is None:
        divisor = total((truth != IGNORE).sum()).clamp(min=1)
    # on CUDA, the loss of maps is summed in a varying order
    sums = weight is None and not (logits.is_cuda and torch.are_deterministic_algorithms_enabled())
    how = "sum" if sums else "none"
    losses = F.cross_entropy(logits.float(), truth, ignore_index=IGNORE, reduction=how)
    if weight is None:
        return divided(losses.sum(), divisor)
    return divided((losses * weight).sum(), divisor)


def ohem_cross_entropy(
    logits: Tensor, truth: Tensor, hardest: float = 0.2, weight: Tensor | None = None
) -> Tensor:
    """Compute the mean cross-entropy over the hardest labelled pixels (online hard example mining).

    Yang et al. 2019, DeeperLab, 1902.05093, section 3.2 ("weighted bootstrapped cross-entropy").

    Args:
        logits: B x classes x H x W.
        truth: B x H x W int64 class indices, `IGNORE` on void.
        hardest: share of the labelled pixels that count, in 0..1.
        weight: B x H x W, multiplied with the losses before the hardest are chosen.

    Returns:
        A scalar; 0 if every pixel is void.
    """
    losses = F.cross_entropy(logits.float(), truth, ignore_index=IGNORE, reduction="none")
    if weight is not None:
        losses = losses * weight
    labelled = int(total((truth != IGNORE).sum()))
    count = max(1, int(hardest * labelled))
    everywhere = gathered(losses.flatten())
    least = everywhere.topk(min(count, len(everywhere))).values.amin()
    above = (everywhere > least).sum()
    # pixels whose loss equals the least one have a share each of the places that are left
    share = (count - above) / (everywhere == least).sum()
    weight = (losses > least).to(losses.dtype) + (losses == least) * share
    return divided((losses * weight).sum(), upload(count, above.device))


def soft_dice(logits: Tensor, truth: Tensor, smooth: float = 1.0) -> Tensor:
    """Compute 1 - soft Dice (Milletari 2016), averaged over the classes.

    Pixels of the whole batch are pooled; void pixels are excluded. Shapes as in `cross_entropy`.
    """
    keep = truth != IGNORE
    probability = logits.float().softmax(1) * keep[:, None]
    one_hot = torch.zeros_like(probability).scatter_(1, truth.clamp(min=0)[:, None], 1.0) * keep[:, None]
    both = total((probability * one_hot).sum((0, 2, 3)))
    each = total((probability + one_hot).sum((0, 2, 3)))
    return 1 - ((2 * both + smooth) / (each + smooth)).mean()


SEMANTIC_LOSSES: dict[str, Callable[..., Tensor]] = {
    "cross_entropy": cross_entropy,
    "ohem": ohem_cross_entropy,
    "dice": soft_dice,
}


def semantic_losses(
    logits: Tensor, truth: Tensor, weights: dict[str, float], pixels: PixelWeights | None = None
) -> dict[str, Tensor]:
    """Compute the named losses, each multiplied with its weight; see `SEMANTIC_LOSSES`.

    Only the cross-entropy weights pixels; None: equally.
    """
    options = pixels._asdict() if pixels else {}
    named = SEMANTIC_LOSSES | {"cross_entropy": functools.partial(cross_entropy, **options)}
    return {name: weight * named[name](logits, truth) for name, weight in weights.items()}
