"""Base classes of all networks."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor, nn

from segbench.contract.prediction import Prediction, Target
from segbench.contract.view import Task, View
from segbench.errors import SegbenchError
from segbench.models.layers.weight_decay import backbone_tables, vectors
from segbench.models.losses.semantic import semantic_losses


class Network(nn.Module):
    """Base of all networks.

    The options of a subclass are keyword parameters of its constructor; the YAML entry sets them. A network
    with a timm backbone has an attribute `backbone`.

    Args:
        view: task and classes to predict.
        in_channels: channels of the images.
    """

    tasks: ClassVar[tuple[Task, ...]]
    """Tasks that the network can be trained for."""

    def __init__(self, view: View, in_channels: int) -> None:
        super().__init__()
        self.view, self.in_channels = view, in_channels

    def losses(self, images: Tensor, targets: list[Target]) -> dict[str, Tensor]:
        """Compute the training losses.

        Args:
            images: B x C x H x W float, normalised, of any size.
            targets: B targets, see `Target`.

        Returns:
            Scalar losses by name, already weighted; training minimises their sum.
        """
        raise NotImplementedError

    @torch.inference_mode()
    def predict(self, images: Tensor, sizes: list[tuple[int, int]]) -> list[Prediction]:
        """Predict each image at the size of the original image.

        Args:
            images: B x C x H x W float, normalised, without padding. A network that needs a multiple of its
                stride pads and crops by itself, so that the batch never changes a prediction.
            sizes: (height, width) of the prediction, per image.

        Returns:
            One prediction per image.
        """
        raise NotImplementedError

    def no_weight_decay(self) -> set[str]:
        """Name the parameters without weight decay, like the method of the same name in timm.

        By default, these are vectors and scalars (biases, scales and shifts of norms), and the parameters
        that the backbone names, such as position tables. A network whose authors do otherwise overrides this.

        Returns:
            Names as in `named_parameters`.
        """
        return vectors(self) | backbone_tables(self)

    def load_backbone(self, state: dict[str, Tensor]) -> None:
        """Load pretrained weights into the attribute `backbone`.

        Args:
            state: state dict of the full timm model.

        Raises:
            SegbenchError: the network has no backbone, or the weights do not fit it.
        """
        backbone = getattr(self, "backbone", None)
        if backbone is None:
            raise SegbenchError(
                f"{type(self).__name__} has no backbone to load pretrained weights into",
                where="pretrained",
                remedy="remove `pretrained`, or set the network's option `backbone` if it has one",
            )
        backbone.load(state)


class SemanticNetwork(Network):
    """Base of semantic networks: `forward` returns B x classes x H x W logits at the size of its input.

    Args:
        view: task and classes to predict.
        in_channels: channels of the images.
        loss: weight of each loss, by its name in `SEMANTIC_LOSSES`; by default cross-entropy alone.
    """

    tasks = ("semantic",)
    auxiliary_weight: float = 0.0
    """Weight of the auxiliary losses, multiplied with each loss's own weight."""

    def __init__(self, view: View, in_channels: int, loss: dict[str, float] | None = None) -> None:
        super().__init__(view, in_channels)
        self.loss_weights = loss or {"cross_entropy": 1.0}

    def training_logits(self, images: Tensor) -> tuple[Tensor, Tensor | None]:
        """Return the logits of `forward`, and those of the auxiliary head or None."""
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
    """Resize classes x h x w logits bilinearly to `size` and return the H x W class indices."""
    if tuple(logits.shape[-2:]) != tuple(size):
        logits = nn.functional.interpolate(logits[None], size=size, mode="bilinear", align_corners=False)[0]
    return logits.argmax(0)
