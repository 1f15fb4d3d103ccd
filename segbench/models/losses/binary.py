"""Losses of semantic segmentation with a sigmoid for each class. All functions take logits."""

from __future__ import annotations

import functools
from collections.abc import Callable

from torch import Tensor
from torch.nn import functional as F

from segbench.models.losses.semantic import PixelWeights
from segbench.models.whole_batch import divided, total


def binary_cross_entropy(
    logits: Tensor, truth: Tensor, valid: Tensor, weight: Tensor | None = None, divisor: Tensor | None = None
) -> Tensor:
    """Compute the binary cross-entropy, averaged over the classes and the pixels that are not void.

    Args:
        logits: B x classes x H x W.
        truth: B x classes x H x W bool; a pixel may belong to any number of classes.
        valid: B x H x W bool; False on void.
        weight, divisor: see `PixelWeights`; None: the pixels that are not void have the weight 1.

    Returns:
        A scalar; 0 if every pixel is void.
    """
    losses = F.binary_cross_entropy_with_logits(logits.float(), truth.float(), reduction="none")
    if divisor is None:
        divisor = total(valid.sum()).clamp(min=1)
    return divided((losses.mean(1) * (valid if weight is None else weight)).sum(), divisor)


def binary_dice(logits: Tensor, truth: Tensor, valid: Tensor, smooth: float = 1.0) -> Tensor:
    """Compute 1 - soft Dice (Milletari 2016) of the probabilities, averaged over the classes.

    Pixels of the whole batch are pooled; void pixels are excluded. Arguments as in `binary_cross_entropy`.
    """
    probability, truth = logits.float().sigmoid() * valid[:, None], truth & valid[:, None]
    both = total((probability * truth).sum((0, 2, 3)))
    each = total((probability + truth).sum((0, 2, 3)))
    return 1 - ((2 * both + smooth) / (each + smooth)).mean()


BINARY_LOSSES: dict[str, Callable[..., Tensor]] = {"cross_entropy": binary_cross_entropy, "dice": binary_dice}


def binary_losses(
    logits: Tensor,
    truth: Tensor,
    valid: Tensor,
    weights: dict[str, float],
    pixels: PixelWeights | None = None,
) -> dict[str, Tensor]:
    """Compute the named losses, each multiplied with its weight; see `BINARY_LOSSES`.

    Only the cross-entropy weights pixels; None: equally.
    """
    options = pixels._asdict() if pixels else {}
    named = BINARY_LOSSES | {"cross_entropy": functools.partial(binary_cross_entropy, **options)}
    return {name: weight * named[name](logits, truth, valid) for name, weight in weights.items()}
