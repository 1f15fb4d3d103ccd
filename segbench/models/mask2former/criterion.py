"""Matching and losses on sampled points (paper, section 3.3)."""

from __future__ import annotations

import torch
from torch import Tensor

from segbench.models.layers.point_sampling import lookup, sample_points, uncertain_points
from segbench.models.losses.masks import mask_cross_entropy, pairwise_cross_entropy
from segbench.models.losses.segments import Segments
from segbench.models.losses.set_criterion import SetCriterion
from segbench.models.whole_batch import uniform


class Criterion(SetCriterion):
    """Compare masks on `points` sampled points each.

    For `oversample` and `importance` see `uncertain_points`.
    """

    pairwise_mask = staticmethod(pairwise_cross_entropy)
    matched_mask = staticmethod(mask_cross_entropy)

    def __init__(
        self,
        class_weight: float = 2.0,
        mask_weight: float = 5.0,
        dice_weight: float = 5.0,
        no_object_weight: float = 0.1,
        points: int = 12544,
        oversample: float = 3.0,
        importance: float = 0.75,
    ) -> None:
        super().__init__(class_weight, mask_weight, dice_weight, no_object_weight)
        self.points, self.oversample, self.importance = points, oversample, importance

    def compared(self, features: Tensor, truth: Tensor, segments: Segments) -> tuple[Tensor, Tensor, Tensor]:
        """All masks of an image are compared on the same uniformly drawn points."""
        images = len(segments.counts)
        points = uniform([1] * images, self.points, 2, device=truth.device)
        weight = lookup(segments.valid, torch.arange(images, device=truth.device), points).float()
        truth = segments.by_image(sample_points(truth, points[segments.image])[:, 0])
        return sample_points(features, points), truth, weight

    def scored(self, masks: Tensor, truth: Tensor, segments: Segments) -> tuple[Tensor, Tensor, Tensor]:
        """Each mask on its own points, mostly uncertain ones."""
        points = uncertain_points(
            masks, segments.valid, segments.counts, self.points, self.oversample, self.importance
        )
        weight = lookup(segments.valid, segments.image, points).float()
        return sample_points(masks, points)[:, 0], sample_points(truth, points)[:, 0], weight
