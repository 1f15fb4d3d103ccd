"""The true segments of a batch, to which predicted masks are compared."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from segbench.contract.prediction import IGNORE, Target
from segbench.contract.view import Task


@dataclass
class Segments:
    """The T true segments of a batch, concatenated over its images.

    labels T, masks T x H x W bool, image T (the image of each, ascending), valid B x H x W bool.
    """

    labels: Tensor
    masks: Tensor
    image: Tensor
    valid: Tensor
    counts: list[int]
    """Number of segments of each image."""

    @property
    def slot(self) -> Tensor:
        """Index of each segment among those of its image (T)."""
        counts = torch.tensor(self.counts, device=self.image.device)
        return (
            torch.arange(len(self.image), device=self.image.device) - (counts.cumsum(0) - counts)[self.image]
        )

    def by_image(self, values: Tensor) -> Tensor:
        """Pad T x ... values to B x max(counts) x ..., with zeros where an image has fewer segments."""
        padded = values.new_zeros(len(self.counts), max(self.counts), *values.shape[1:])
        padded[self.image, self.slot] = values
        return padded


def segments_of(task: Task, targets: list[Target]) -> Segments:
    """Collect the true segments of a batch.

    Args:
        task: view of the targets. A semantic map has one segment for each class that is present.
        targets: targets of the images, see `Target`.
    """
    valid = torch.stack([t["valid"] for t in targets])
    if task == "semantic":
        semantic = torch.stack([t["semantic"] for t in targets])
        valid = valid & (semantic != IGNORE)
        classes = semantic.amax().clamp(min=0) + 1
        images = torch.arange(len(targets), device=semantic.device)[:, None, None]
        present = (images * classes + semantic)[valid].unique()  # sorted
        image, labels = present // classes, present % classes
        masks = (semantic[image] == labels[:, None, None]) & valid[image]
    else:
        labels = torch.cat([t["labels"] for t in targets])
        masks = torch.cat([t["masks"] for t in targets])
        each = torch.tensor([len(t["labels"]) for t in targets], device=labels.device)
        image = torch.arange(len(targets), device=labels.device).repeat_interleave(each)
    return Segments(labels, masks, image, valid, image.bincount(minlength=len(targets)).tolist())
