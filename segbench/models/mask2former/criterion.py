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
            truth = segments.masks[:, None].float()
            queries = assign(self.costs(output, segments, truth), segments.counts)
            losses = {
                "class": self.class_weight * self.class_loss(output, segments, queries),
                "mask": 0 * output.embeddings.sum(),  # an image without segments has gradients, too
                "dice": 0 * output.features.sum(),
            }
            if len(truth):
                for embeddings, query in zip(output.embeddings, queries):
                    mask, dice = self.mask_losses(embeddings, output.features, segments, truth, query)
                    losses["mask"] = losses["mask"] + self.mask_weight * mask
                    losses["dice"] = losses["dice"] + self.dice_weight * dice
            return losses

    @torch.no_grad()
    def costs(self, output: MaskQueries, segments: Segments, truth: Tensor) -> Tensor:
        """layers x B x Q x slots: cost of giving each segment of an image to each query; truth T x 1 x H x W.

        All masks of an image are compared on the same uniformly drawn points.
        """
        images = len(segments.counts)
        points = torch.rand(images, self.points, 2, device=truth.device)
        weight = lookup(segments.valid, torch.arange(images, device=truth.device), points).float()
        features = sample_points(output.features, points)
        truth = segments.by_image(sample_points(truth, points[segments.image])[:, 0])
        label = segments.by_image(segments.labels)[:, None].expand(-1, output.classes.shape[2], -1)
        costs = []
        for classes, embeddings in zip(output.classes, output.embeddings):
            logits = embeddings @ features
            costs.append(
                self.mask_weight * pairwise_cross_entropy(logits, truth, weight)
                + self.dice_weight * pairwise_dice(logits, truth, weight)
                - self.class_weight * classes.softmax(-1).gather(2, label)
            )
        return torch.stack(costs)

    def class_loss(self, output: MaskQueries, segments: Segments, queries: Tensor) -> Tensor:
        """queries: layers x T, as `assign` gives them; a query without a segment is labelled "no object"."""
        *shape, classes = output.classes.shape
        truth = torch.full(shape, classes - 1, device=queries.device)
        layer, segment = (queries >= 0).nonzero(as_tuple=True)
        truth[layer, segments.image[segment], queries[layer, segment]] = segments.labels[segment]
        return set_cross_entropy(output.classes, truth, self.no_object_weight)

    def mask_losses(
        self, embeddings: Tensor, features: Tensor, segments: Segments, truth: Tensor, query: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Cross-entropy and Dice of one layer's matched masks, each on its own points, mostly uncertain ones.

        embeddings B x Q x C, truth T x 1 x H x W, query T.
        """
        chosen = segments.by_image(embeddings[segments.image, query.clamp(min=0)])
        masks = torch.einsum("bnc,bchw->bnhw", chosen, features)[segments.image, segments.slot][:, None]
        points = uncertain_points(
            masks, segments.valid, segments.image, self.points, self.oversample, self.importance
        )
        weight = (lookup(segments.valid, segments.image, points) & (query >= 0)[:, None]).float()
        logits, labels = sample_points(masks, points)[:, 0], sample_points(truth, points)[:, 0]
        return (
            mask_cross_entropy(logits, labels, weight).sum() / len(truth),
            mask_dice(logits, labels, weight).sum() / len(truth),
        )
