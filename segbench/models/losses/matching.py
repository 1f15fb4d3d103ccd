"""One-to-one assignment of predictions to true segments (Carion et al. 2020, DETR, arXiv 2005.12872)."""

from __future__ import annotations

import numpy as np
import torch
from scipy.optimize import linear_sum_assignment
from torch import Tensor

from segbench.copying import upload

LARGE = 1e9
"""Replaces costs that are not finite: such a pair is chosen only if no other remains."""


def assign(costs: Tensor, counts: list[int]) -> Tensor:
    """Find the cheapest one-to-one assignment of queries to segments, for every layer and image.

    The costs are copied to the CPU once.

    Args:
        costs: layers x images x queries x slots; the first `counts[b]` slots of image b are true segments.
        counts: number of true segments of each image.

    Returns:
        layers x sum(counts) int64: the query of each segment, in the order of the images; -1 if there are
        more segments than queries.
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
    return upload(assignment, costs.device)
