"""Draw the anchors and regions that count in the losses of the R-CNN family."""

from __future__ import annotations

import torch
from torch import Tensor
from torchvision.models.detection._utils import BalancedPositiveNegativeSampler

from segbench.models.whole_batch import generator


class Sampler(BalancedPositiveNegativeSampler):
    """Equal to torchvision's, except that an image draws the same in any part of a batch.

    Args:
        batch_size_per_image: number of candidates to draw from each image.
        positive_fraction: largest share of objects among them.
    """

    drawn: int
    """Number of candidates in the last call."""
    objects: int
    """Number of objects among them."""

    def __call__(self, matched_idxs: list[Tensor]) -> tuple[list[Tensor], list[Tensor]]:
        pairs = [self._draw(image, labels) for image, labels in enumerate(matched_idxs)]
        self.objects = sum(len(objects) for objects, _ in pairs)
        self.drawn = self.objects + sum(len(others) for _, others in pairs)
        empty = [torch.zeros_like(labels, dtype=torch.uint8) for labels in matched_idxs]
        positive, negative = (
            [mask.index_fill(0, drawn, 1) for mask, drawn in zip(empty, side)] for side in zip(*pairs)
        )
        return positive, negative

    def _draw(self, image: int, labels: Tensor) -> tuple[Tensor, Tensor]:
        """Return the indices of the objects and of the others that an image draws."""

        def some(candidates: Tensor, most: int) -> Tensor:
            draws = generator(image, labels.device)
            return candidates[torch.randperm(len(candidates), generator=draws, device=labels.device)[:most]]

        objects = some(torch.where(labels >= 1)[0], int(self.batch_size_per_image * self.positive_fraction))
        return objects, some(torch.where(labels == 0)[0], self.batch_size_per_image - len(objects))
