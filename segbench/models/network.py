"""Base classes of all networks."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar, Literal

import torch
from torch import Tensor, nn

from segbench.contract.prediction import IGNORE, Prediction, Target
from segbench.contract.view import BACKGROUND, Task, View, has_class
from segbench.errors import SegbenchError
from segbench.models.layers.weight_decay import backbone_tables, vectors
from segbench.models.losses.binary import BINARY_LOSSES, binary_losses
from segbench.models.losses.semantic import (
    SEMANTIC_LOSSES,
    PixelWeights,
    pixel_weights,
    semantic_losses,
)
from segbench.models.whole_batch import only_counts

Activation = Literal["softmax", "sigmoid"]


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
    uses_all_parameters: ClassVar[bool] = False
    """Whether all parameters have a part in the losses of any batch. False where a part runs on some images
    only, such as those with objects: a training on several devices then looks for the parameters
    without a gradient in each step."""

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

    def dense_parts(self) -> list[nn.Module]:
        """Return the modules that see images, or maps of them, of the same size in each step.

        `compile` of a recipe compiles them. By default, it is the backbone: what works on objects has other
        shapes in each step.
        """
        backbone = getattr(self, "backbone", None)
        return [] if backbone is None else [backbone]

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
    """Base of semantic networks: `forward` returns B x outputs x H x W logits at the size of its input.

    With a softmax, each class has a logit. With a sigmoid, each class but the background has one, and a pixel
    is background where no class has a probability above 0.5. A single class then has a single logit, as in
    the U-Nets for one organ or lesion. If classes overlap, a pixel has all classes above 0.5.

    Args:
        view: task and classes to predict.
        in_channels: channels of the images.
        loss: weight of each loss, by its name: `cross_entropy`, `dice`, and `ohem` with a softmax; by default
            cross-entropy alone. With a sigmoid, they are binary: see `BINARY_LOSSES`.
        activation: what makes probabilities of the logits.

    Raises:
        SegbenchError: `loss` names a loss that does not exist for the activation.
    """

    tasks = ("semantic",)
    uses_all_parameters = True
    auxiliary_weight: float = 0.0
    """Weight of the auxiliary losses, multiplied with each loss's own weight."""
    class_weights: Tensor | None
    """Weight of each class in the cross-entropy; None: 1. It needs a softmax."""

    def __init__(
        self,
        view: View,
        in_channels: int,
        loss: dict[str, float] | None = None,
        activation: Activation = "softmax",
    ) -> None:
        super().__init__(view, in_channels)
        self.register_buffer("class_weights", None, persistent=False)
        self.loss_weights, self.activation = loss or {"cross_entropy": 1.0}, activation
        self.has_background_logit = activation == "softmax" or view.classes[0].id != BACKGROUND.id
        self.outputs = len(view.classes) - (not self.has_background_logit)
        known = SEMANTIC_LOSSES if activation == "softmax" else BINARY_LOSSES
        if unknown := [name for name in self.loss_weights if name not in known]:
            raise SegbenchError(
                f"there is no loss {', '.join(map(repr, unknown))} with activation '{activation}'",
                where="options.loss",
                remedy=f"choose from {', '.join(known)}",
            )

    def dense_parts(self) -> list[nn.Module]:
        """Return all modules; those of lists and dicts, which have no `forward`, one by one."""
        return list(_called(self))

    def training_logits(self, images: Tensor) -> tuple[Tensor, Tensor | None]:
        """Return the logits of `forward`, and those of the auxiliary head or None."""
        return self(images), None

    def losses(self, images: Tensor, targets: list[Target]) -> dict[str, Tensor]:
        truth = torch.stack([t["semantic"] for t in targets])
        border = torch.stack([t["border"] for t in targets]) if "border" in targets[0] else None
        pixels = pixel_weights(truth, self.class_weights, border)
        if only_counts() and {*self.loss_weights} == {"cross_entropy"}:
            return {}
        logits, auxiliary = self.training_logits(images)
        losses = self._losses(logits, truth, pixels)
        if auxiliary is not None:
            for name, loss in self._losses(auxiliary, truth, pixels).items():
                losses[f"auxiliary_{name}"] = self.auxiliary_weight * loss
        return losses

    def _losses(self, logits: Tensor, truth: Tensor, pixels: PixelWeights) -> dict[str, Tensor]:
        if self.activation == "softmax":
            return semantic_losses(logits, truth, self.loss_weights, pixels)
        indices = range(len(self.view.classes))[-self.outputs :]
        if self.view.overlapping:
            masks = torch.stack([has_class(truth, index) for index in indices], 1)
        else:
            masks = torch.stack([truth == index for index in indices], 1)
        return binary_losses(logits, masks, truth != IGNORE, self.loss_weights, pixels)

    @torch.inference_mode()
    def predict(self, images: Tensor, sizes: list[tuple[int, int]]) -> list[Prediction]:
        logits = self(images).float()
        return [Prediction(semantic=self.labels_at(one, size)) for one, size in zip(logits, sizes)]

    def labels_at(self, logits: Tensor, size: tuple[int, int]) -> Tensor:
        """Resize outputs x h x w logits bilinearly to `size` and return the H x W labels.

        These are class indices, or sums of 2 ** index if classes overlap.
        """
        if tuple(logits.shape[-2:]) != tuple(size):
            logits = nn.functional.interpolate(logits[None], size=size, mode="bilinear", align_corners=False)[
                0
            ]
        if self.view.overlapping:
            weights = 2 ** torch.arange(self.outputs, device=logits.device)
            return ((logits > 0) * weights[:, None, None]).sum(0)
        if not self.has_background_logit:  # logit 0 is the probability 0.5
            logits = nn.functional.pad(logits, (0, 0, 0, 0, 1, 0))
        return logits.argmax(0)


def _called(parent: nn.Module) -> Iterator[nn.Module]:
    for child in parent.children():
        if isinstance(child, nn.ModuleList | nn.ModuleDict):
            yield from _called(child)
        else:
            yield child
