"""The true segments of a batch, to which predicted masks are compared."""

from __future__ import annotations

import functools
from dataclasses import dataclass

import torch
from torch import Tensor

from segbench.contract.prediction import IGNORE, Target
from segbench.contract.view import Task
from segbench.copying import upload


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

    @functools.cached_property
    def slot(self) -> Tensor:
        """Index of each segment among those of its image (T)."""
        slots = [slot for count in self.counts for slot in range(count)]
        return upload(slots, self.image.device, torch.int64)

    def by_image(self, values: Tensor) -> Tensor:
        """Pad T x ... values to B x max(counts) x ..., with zeros where an image has fewer segments."""
        padded = values.new_zeros(len(self.counts), max(self.counts), *values.shape[1:])
        padded[self.image, self.slot] = values
        return padded


def segments_of(task: Task, targets: list[Target], classes: int = 0) -> Segments:
    """Collect the true segments of a batch.

    Args:
        task: view of the targets. A semantic map has one segment for each class that is present.
        targets: targets of the images, see `Target`.
        classes: number of classes of a semantic map.
    """
    valid = torch.stack([t["valid"] for t in targets])
    if task == "semantic":
        semantic = torch.stack([t["semantic"] for t in targets])
        valid = valid & (semantic != IGNORE)
        labelled = torch.where(valid, semantic, classes).flatten(1)
        present = torch.zeros(len(targets), classes + 1, dtype=torch.bool, device=semantic.device)
        present = present.scatter_(1, labelled, True)[:, :-1].cpu()  # the only wait for the device
        counts = present.sum(1).tolist()
        image, labels = (upload(part, semantic.device) for part in present.nonzero(as_tuple=True))
        masks = (semantic[image] == labels[:, None, None]) & valid[image]
    else:
        labels = torch.cat([t["labels"] for t in targets])
        masks = torch.cat([t["masks"] for t in targets])
        counts = [len(t["labels"]) for t in targets]
        image = upload(
            [i for i, count in enumerate(counts) for _ in range(count)], labels.device, torch.int64
        )
    return Segments(labels, masks, image, valid, counts)
