"""Matching and losses of all decoder layers of a network that predicts (class, mask) pairs."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from segbench.copying import upload
from segbench.models.layers.mask_queries import MaskQueries
from segbench.models.losses.masks import mask_dice, pairwise_dice, set_cross_entropy
from segbench.models.losses.matching import assign
from segbench.models.losses.segments import Segments
from segbench.models.whole_batch import divided, total

Loss = Callable[[Tensor, Tensor, Tensor], Tensor]


class SetCriterion:
    """Base of the criteria of MaskFormer and Mask2Former.

    A subclass names its mask loss, of all pairs and of matched ones, and where masks are compared in the
    matching (`compared`) and in the losses (`scored`).

    Args:
        class_weight: weight of the class loss, and of the class cost in the matching.
        mask_weight: weight of the mask loss and cost.
        dice_weight: weight of the Dice loss and cost.
        no_object_weight: weight of the class "no object" in the class loss.
    """

    pairwise_mask: Loss
    matched_mask: Loss

    def __init__(
        self, class_weight: float, mask_weight: float, dice_weight: float, no_object_weight: float
    ) -> None:
        self.class_weight, self.mask_weight, self.dice_weight = class_weight, mask_weight, dice_weight
        self.no_object_weight = no_object_weight

    def compared(self, features: Tensor, truth: Tensor, segments: Segments) -> tuple[Tensor, Tensor, Tensor]:
        """Mask features B x C x P, truth B x slots x P and weight B x P at the points of the matching.

        features B x C x h x w, truth T x 1 x H x W.
        """
        raise NotImplementedError

    def scored(self, masks: Tensor, truth: Tensor, segments: Segments) -> tuple[Tensor, Tensor, Tensor]:
        """Logits, truth and weight, each T x P, at the points of the losses; masks T x 1 x h x w logits."""
        raise NotImplementedError

    def __call__(self, output: MaskQueries, segments: Segments) -> dict[str, Tensor]:
        """Weighted losses, each summed over the layers and over the batch, masks divided by their number.

        Their number is that of the whole batch, see `whole_batch`.
        """
        with torch.autocast(output.features.device.type, enabled=False):
            truth = segments.masks[:, None].float()
            queries = assign(self.costs(output, segments, truth), segments.counts)
            output = MaskQueries(*(x.float() for x in output))
            weight, masks = self.counts(segments, output.classes.shape[2])
            losses = {
                "class": self.class_weight * divided(self.class_loss(output, segments, queries), weight),
                "mask": 0 * output.embeddings.sum(),  # an image without segments has gradients, too
                "dice": 0 * output.features.sum(),
            }
            if len(truth):
                for embeddings, query in zip(output.embeddings, queries):
                    mask, dice = self.mask_losses(embeddings, output.features, segments, truth, query)
                    losses["mask"] = losses["mask"] + self.mask_weight * divided(mask, masks)
                    losses["dice"] = losses["dice"] + self.dice_weight * divided(dice, masks)
            return losses

    def counts(self, segments: Segments, queries: int) -> tuple[Tensor, Tensor]:
        """Sum of the weights of a layer's queries in the class loss, and number of true segments.

        Both are of the whole batch; the number is at least 1. `queries`: number of queries of an image.
        """
        matched = sum(min(count, queries) for count in segments.counts)
        others = queries * len(segments.counts) - matched
        weight, masks = matched + others * self.no_object_weight, len(segments.labels)
        weight, masks = total(upload([weight, masks], segments.labels.device))
        return weight, masks.clamp(min=1)

    @torch.no_grad()
    def costs(self, output: MaskQueries, segments: Segments, truth: Tensor) -> Tensor:
        """layers x B x Q x slots: cost of giving a segment to a query of its image; truth T x 1 x H x W.

        Masks are multiplied in the format of `output`, as where they are predicted, and compared in float32.
        """
        features, truth, weight = self.compared(output.features.float(), truth, segments)
        features = features.to(output.embeddings.dtype)
        label = segments.by_image(segments.labels)[:, None].expand(-1, output.classes.shape[2], -1)
        costs = []
        for classes, embeddings in zip(output.classes, output.embeddings):
            logits = (embeddings @ features).float()
            costs.append(
                self.mask_weight * self.pairwise_mask(logits, truth, weight)
                + self.dice_weight * pairwise_dice(logits, truth, weight)
                - self.class_weight * classes.float().softmax(-1).gather(2, label)
            )
        return torch.stack(costs)

    def class_loss(self, output: MaskQueries, segments: Segments, queries: Tensor) -> Tensor:
        """Sum over layers and queries; a query without a segment is labelled "no object".

        queries: layers x T, as `assign` gives them.
        """
        layers, images, count, classes = output.classes.shape
        truth = torch.full((layers, images, count + 1), classes - 1, device=queries.device)
        # the last place collects the segments without a query
        layer = torch.arange(layers, device=queries.device)[:, None]
        truth[layer, segments.image, torch.where(queries >= 0, queries, count)] = segments.labels
        return set_cross_entropy(output.classes, truth[..., :-1], self.no_object_weight)

    def mask_losses(
        self, embeddings: Tensor, features: Tensor, segments: Segments, truth: Tensor, query: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Sums of the mask losses and of the Dice losses of one layer's matched masks.

        embeddings B x Q x C, truth T x 1 x H x W, query T.
        """
        chosen = segments.by_image(embeddings[segments.image, query.clamp(min=0)])
        masks = torch.einsum("bnc,bchw->bnhw", chosen, features)[segments.image, segments.slot][:, None]
        logits, labels, weight = self.scored(masks, truth, segments)
        weight = weight * (query >= 0)[:, None]
        return (
            self.matched_mask(logits, labels, weight).sum(),
            mask_dice(logits, labels, weight).sum(),
        )
