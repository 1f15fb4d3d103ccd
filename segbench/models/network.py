"""What every network is: a `torch.nn.Module` with `losses` and `predict` beside `forward`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from segbench.data.dataset import Task, View
from segbench.errors import SegbenchError
from segbench.models.layers.weight_decay import backbone_tables, vectors
from segbench.models.losses.semantic import semantic_losses

Target = dict[str, Any]
"""Truth of one training image, at the size of its image tensor:

semantic view: `semantic` H x W int64, indices into `View.classes`, `losses.IGNORE` = void.
instance view: `labels` N int64, `masks` N x H x W bool, `boxes` N x 4 float32 (x0, y0, x1, y1 in pixels),
    crowds left out, empty ones removed.
panoptic view: `labels`, `masks` as above, one entry a segment: each object of a thing, each stuff class once.
Every view has `image_id` int. `valid` H x W bool is False on padding and void.
"""


@dataclass
class Instances:
    """Objects of one image: `scores` N, `labels` N (indices into `View.classes`).

    `masks` N x H x W bool, or None where the network answers boxes only (in every image, then).
    `boxes` N x 4 (x0, y0, x1, y1), or None for the masks' own bounds.
    """

    scores: Tensor
    labels: Tensor
    masks: Tensor | None
    boxes: Tensor | None = None


@dataclass
class Panoptic:
    """`segments` H x W int64, 0 = nothing, else k + 1 for the k-th entry of `labels` and `scores`."""

    segments: Tensor
    labels: Tensor
    scores: Tensor


@dataclass
class Prediction:
    """What a network says of one image, at the size asked for; the parts it cannot answer are None.

    `semantic` is H x W int64, indices into the classes of the view that was trained on.
    """

    semantic: Tensor | None = None
    instances: Instances | None = None
    panoptic: Panoptic | None = None


class Network(nn.Module):
    """Base of all networks.

    Constructor: `(view, in_channels, **options)`; options are the YAML entry's, `backbone` (a timm name)
    among them where the network has one. Images are B x C x H x W float, normalised, of any size.
    """

    tasks: ClassVar[tuple[Task, ...]]
    """Views that it can be trained on."""

    def __init__(self, view: View, in_channels: int) -> None:
        super().__init__()
        self.view, self.in_channels = view, in_channels

    def losses(self, images: Tensor, targets: list[Target]) -> dict[str, Tensor]:
        """Named scalar losses, weighted already; the loop minimises their sum."""
        raise NotImplementedError

    @torch.inference_mode()
    def predict(self, images: Tensor, sizes: list[tuple[int, int]]) -> list[Prediction]:
        """One `Prediction` an image, at (height, width) = `sizes[i]`, the size of the original image.

        All images of the batch have one true size (no padding in it): so batches never change a prediction.
        A network that needs a multiple of its stride pads and crops by itself.
        """
        raise NotImplementedError

    def no_weight_decay(self) -> set[str]:
        """Name the parameters that are spared from weight decay, as timm's models do.

        By default vectors and scalars (biases, scales and shifts of norms), and what the backbone names, such
        as position tables. A network whose authors do otherwise overrides this.

        Returns:
            Names as in `named_parameters`.
        """
        return vectors(self) | backbone_tables(self)

    def load_backbone(self, state: dict[str, Tensor]) -> None:
        """Take pretrained weights (a timm state dict) of the `Backbone` that is the attribute `backbone`."""
        backbone = getattr(self, "backbone", None)
        if backbone is None:
            raise SegbenchError(
                f"{type(self).__name__} has no backbone to load pretrained weights into",
                where="pretrained",
                remedy="leave `pretrained` out, or set the network's option `backbone` where it has one",
            )
        backbone.load(state)


class SemanticNetwork(Network):
    """A network whose `forward` gives B x classes x H x W logits at the size of its input."""

    tasks = ("semantic",)
    auxiliary_weight: float = 0.0
    """Of the losses of the auxiliary logits, on top of their own weights."""

    def __init__(self, view: View, in_channels: int, loss: dict[str, float] | None = None) -> None:
        super().__init__(view, in_channels)
        self.loss_weights = loss or {"cross_entropy": 1.0}

    def training_logits(self, images: Tensor) -> tuple[Tensor, Tensor | None]:
        """The logits that `forward` gives, and those of an auxiliary head where the network has one."""
        return self(images), None

    def losses(self, images: Tensor, targets: list[Target]) -> dict[str, Tensor]:
        truth = torch.stack([t["semantic"] for t in targets])
        logits, auxiliary = self.training_logits(images)
        losses = semantic_losses(logits, truth, self.loss_weights)
        if auxiliary is not None:
            for name, loss in semantic_losses(auxiliary, truth, self.loss_weights).items():
                losses[f"auxiliary_{name}"] = self.auxiliary_weight * loss
        return losses

    @torch.inference_mode()
    def predict(self, images: Tensor, sizes: list[tuple[int, int]]) -> list[Prediction]:
        logits = self(images).float()
        return [Prediction(semantic=labels_at(one, size)) for one, size in zip(logits, sizes)]


def labels_at(logits: Tensor, size: tuple[int, int]) -> Tensor:
    """classes x h x w logits -> H x W class indices, by bilinear interpolation of the logits."""
    if tuple(logits.shape[-2:]) != tuple(size):
        logits = nn.functional.interpolate(logits[None], size=size, mode="bilinear", align_corners=False)[0]
    return logits.argmax(0)
