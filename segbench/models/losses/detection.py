"""Losses of detectors."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F
from torchvision.ops import sigmoid_focal_loss


def class_focal(logits: Tensor, labels: Tensor, alpha: float = 0.25, gamma: float = 2.0) -> Tensor:
    """Compute the sum of the one-against-rest focal losses of all classes (Lin et al. 2017).

    logits: ... x classes. labels: ... int64; the number of classes stands for the background.
    """
    truth = F.one_hot(labels, logits.shape[-1] + 1)[..., :-1].float()
    return sigmoid_focal_loss(logits.float(), truth, alpha, gamma, reduction="sum")


def side_giou(found: Tensor, truth: Tensor) -> Tensor:
    """Compute 1 - generalised IoU (Rezatofighi et al. 2019) of boxes around the same point: N x 4 -> N.

    A box is given by the distances from the point to its left, upper, right and lower side, in strides. As in
    the authors' FCOS, 1 is added to the areas of the IoU; `generalized_box_iou_loss` does not do this.
    """

    def area(sides: Tensor) -> Tensor:
        return (sides[:, 0] + sides[:, 2]) * (sides[:, 1] + sides[:, 3])

    both, hull = area(torch.minimum(found, truth)), area(torch.maximum(found, truth))
    union = area(found) + area(truth) - both
    return 1 - (both + 1) / (union + 1) + (hull - union) / hull
