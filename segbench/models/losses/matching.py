"""One-to-one assignment of predictions to true segments (Carion et al. 2020, DETR, arXiv 2005.12872)."""

from __future__ import annotations

import numpy as np
import torch
from scipy.optimize import linear_sum_assignment
from torch import Tensor

LARGE = 1e9
"""Stands for costs that are not finite: such a pair is chosen only where no other is left."""


def assign(costs: Tensor, counts: list[int]) -> Tensor:
    """The cheapest assignment of every layer and image.

    costs: layers x images x queries x slots; of image b the first `counts[b]` slots are true segments.
    Returns layers x sum(counts) int64, segments in the order of the images: the query of each, -1 where there
    are more segments than queries. The costs travel to the processor once.
    """
    costs = torch.nan_to_num(costs, nan=LARGE, posinf=LARGE, neginf=LARGE)
    layers = costs.cpu().numpy()
    assignment = np.full((len(layers), sum(counts)), -1, dtype=np.int64)
    for row, images in zip(assignment, layers):
        start = 0
        for image, count in zip(images, counts):
            queries, segments = linear_sum_assignment(image[:, :count])
            row[start + segments] = queries
            start += count
    return torch.from_numpy(assignment).to(costs.device)
