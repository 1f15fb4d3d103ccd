"""Matching and losses of all decoder layers at once, on sampled points (paper, section 3.3)."""

from __future__ import annotations

import torch
from torch import Tensor

from segbench.models.mask2former.query_decoder import MaskQueries
from segbench.models.mask_losses import (
    Segments,
    mask_cross_entropy,
    mask_dice,
    pairwise_cross_entropy,
    pairwise_dice,
    set_cross_entropy,
)
from segbench.models.matching import assign
from segbench.models.point_sampling import lookup, sample_points, uncertain_points


class Criterion:
    """`class_weight`, `mask_weight`, `dice_weight` weigh costs and losses; `points` are sampled a mask."""

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
        self.class_weight, self.mask_weight, self.dice_weight = class_weight, mask_weight, dice_weight
        self.no_object_weight = no_object_weight
        self.points, self.oversample, self.importance = points, oversample, importance

    def __call__(self, output: MaskQueries, segments: Segments) -> dict[str, Tensor]:
        """Weighted losses, each summed over the layers and over the batch, masks divided by their number."""
        with torch.autocast(output.features.device.type, enabled=False):
            output = MaskQueries(*(x.float() for x in output))
            query = assign(self.costs(output, segments), segments.counts)
            mask, dice = self.mask_losses(output, segments, query)
            return {
                "class": self.class_weight * self.class_loss(output, segments, query),
                "mask": self.mask_weight * mask,
                "dice": self.dice_weight * dice,
            }

    @torch.no_grad()
    def costs(self, output: MaskQueries, segments: Segments) -> Tensor:
        """layers x B x Q x slots: cost of giving each segment of an image to each query.

        All masks of an image are compared on the same uniformly drawn points.
        """
        images = len(segments.counts)
        points = torch.rand(images, self.points, 2, device=output.features.device)
        logits = output.embeddings @ sample_points(output.features, points)
        truth = sample_points(segments.masks[:, None].float(), points[segments.image])[:, 0]
        truth, labels = segments.by_image(truth), segments.by_image(segments.labels)
        each = torch.arange(images, device=points.device)
        weight = lookup(segments.valid, each, points).float()
        probability = output.classes.softmax(-1)
        label = labels[None, :, None].expand(*probability.shape[:3], -1)
        return (
            self.mask_weight * pairwise_cross_entropy(logits, truth, weight)
            + self.dice_weight * pairwise_dice(logits, truth, weight)
            - self.class_weight * probability.gather(3, label)
        )

    def class_loss(self, output: MaskQueries, segments: Segments, query: Tensor) -> Tensor:
        """query: layers x T, as `assign` gives it; a query without a segment has the label "no object"."""
        *shape, classes = output.classes.shape
        truth = torch.full(shape, classes - 1, device=query.device)
        layer, segment = (query >= 0).nonzero(as_tuple=True)
        truth[layer, segments.image[segment], query[layer, segment]] = segments.labels[segment]
        return set_cross_entropy(output.classes, truth, self.no_object_weight)

    def mask_losses(self, output: MaskQueries, segments: Segments, query: Tensor) -> tuple[Tensor, Tensor]:
        """Cross-entropy and Dice of the matched masks on their own points, most of them uncertain ones."""
        layers, count = query.shape
        if not count:
            nothing = 0 * (output.embeddings.sum() + output.features.sum())
            return nothing, nothing
        each = torch.arange(layers, device=query.device)[:, None]
        embeddings = output.embeddings[each, segments.image, query.clamp(min=0)]
        logits = torch.einsum(
            "bnlc,bchw->bnlhw", segments.by_image(embeddings.transpose(0, 1)), output.features
        )
        logits = logits[segments.image, segments.slot].flatten(0, 1)  # one mask a segment and layer
        image = segments.image.repeat_interleave(layers)
        points = uncertain_points(
            logits, segments.valid, image, self.points, self.oversample, self.importance
        )
        truth = sample_points(segments.masks[:, None].float(), points.view(count, -1, 2)).view(len(image), -1)
        matched = (query >= 0).T.reshape(-1, 1)
        weight = (lookup(segments.valid, image, points) & matched).float()
        at_points = sample_points(logits[:, None], points)[:, 0]
        return (
            mask_cross_entropy(at_points, truth, weight).sum() / count,
            mask_dice(at_points, truth, weight).sum() / count,
        )
