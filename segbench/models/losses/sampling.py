"""Draw the anchors and regions that count in the losses of the R-CNN family."""

from __future__ import annotations

import torch
from torch import Tensor

from segbench.models.layers.selection import indices
from segbench.models.whole_batch import generator


class Sampler:
    """Equal to torchvision's `BalancedPositiveNegativeSampler`, but an image draws the same in any part of a
    batch, and the host waits once for all images.

    Args:
        count: number of candidates to draw from each image.
        positive_fraction: largest share of objects among them.
    """

    objects: list[int]
    """Number of objects that each image drew in the last call."""
    others: list[int]
    """Number of other candidates that it drew."""

    def __init__(self, count: int, positive_fraction: float) -> None:
        self.count, self.most = count, int(count * positive_fraction)

    @property
    def drawn(self) -> int:
        """Number of candidates in the last call."""
        return sum(self.objects) + sum(self.others)

    def __call__(self, labels: list[Tensor]) -> tuple[list[Tensor], list[Tensor]]:
        """Draw from each image.

        Args:
            labels: of the candidates of each image: 1 and more for objects, 0 for background, -1 for neither.

        Returns:
            The ascending indices of the objects, and of the other candidates, that each image draws.
        """
        found = indices([kind for one in labels for kind in (one >= 1, one == 0)])
        pairs = [self._draw(image, *found[2 * image : 2 * image + 2]) for image in range(len(labels))]
        objects, others = ([side.sort().values for side in sides] for sides in zip(*pairs))
        self.objects, self.others = [len(o) for o in objects], [len(o) for o in others]
        return objects, others

    def _draw(self, image: int, objects: Tensor, others: Tensor) -> tuple[Tensor, Tensor]:
        def some(candidates: Tensor, most: int) -> Tensor:
            draws = generator(image, candidates.device)
            order = torch.randperm(len(candidates), generator=draws, device=candidates.device)
            return candidates[order[:most]]

        objects = some(objects, self.most)
        return objects, some(others, self.count - len(objects))
