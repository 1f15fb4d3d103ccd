"""Semantic networks of the library transformers: SegFormer, UPerNet, DPT, BEiT, MobileViT and others."""

from __future__ import annotations

import inspect
from typing import Any

from torch import Tensor
from torch.nn import functional as F

from segbench.contract.view import View
from segbench.models.bases.transformers import build, framed, timm_backbone
from segbench.models.layers.backbones import Backbone
from segbench.models.network import Activation, SemanticNetwork

NEEDS = {"transformers": "transformers"}


class TransformersSemantic(SemanticNetwork):
    """A network of `AutoModelForSemanticSegmentation`, built by its architecture.

    Its logits, which may be coarser than the image, are enlarged bilinearly, as in the library's losses.
    The cross-entropy, and that of an auxiliary head at the weight `auxiliary_loss_weight` of its
    configuration, are the library's; other losses can be added by `loss`.

    Args:
        view: task and classes to predict.
        in_channels: channels of the images.
        model_type: name of the architecture in the library.
        config: values of its configuration that differ from the library's.
        backbone: timm name of a backbone, for architectures that take one (`backbone_config`).
        frozen_norm: fix its batch norms, see `Backbone`.
        multiple: images are padded to a multiple of this: the stride of the coarsest features.
        input_side: resize images to fit into a square of this side, for architectures that take one size.
        options: arguments of `SemanticNetwork`.
    """

    def __init__(
        self,
        view: View,
        in_channels: int,
        model_type: str,
        config: dict[str, Any] | None = None,
        backbone: str | None = None,
        frozen_norm: bool = False,
        multiple: int = 32,
        input_side: int | None = None,
        loss: dict[str, float] | None = None,
        activation: Activation = "softmax",
    ) -> None:
        super().__init__(view, in_channels, loss, activation)
        kind = "AutoModelForSemanticSegmentation"
        self.net = build(kind, model_type, config, self.outputs, in_channels, backbone, frozen_norm)
        self.multiple, self.input_side = multiple, input_side
        self.call: dict[str, Any] = {}
        if "interpolate_pos_encoding" in inspect.signature(self.net.forward).parameters:
            self.call["interpolate_pos_encoding"] = input_side is None
        head = getattr(self.net, "auxiliary_head", None)
        self.auxiliary_weight = self.net.config.auxiliary_loss_weight if head is not None else 0.0

    @property
    def backbone(self) -> Backbone:
        """The timm backbone, if the network has one."""
        return timm_backbone(self.net)

    def forward(self, images: Tensor) -> Tensor:
        return self._logits(images)[0]

    def training_logits(self, images: Tensor) -> tuple[Tensor, Tensor | None]:
        return self._logits(images)

    def _logits(self, images: Tensor) -> tuple[Tensor, Tensor | None]:
        """Return the logits and those of the auxiliary head, at the size of the images."""
        given = framed(images, self.multiple, self.input_side)
        auxiliary: list[Tensor] = []
        if self.auxiliary_weight:
            head = self.net.auxiliary_head
            hook = head.register_forward_hook(lambda _, __, output: auxiliary.append(output))
        logits = self.net(pixel_values=given.images, **self.call).logits
        if self.auxiliary_weight:
            hook.remove()
        found = [self._placed(one, given.images, given.covered, images) for one in (logits, *auxiliary)]
        return found[0], found[1] if auxiliary else None

    @staticmethod
    def _placed(logits: Tensor, padded: Tensor, covered: tuple[int, int], images: Tensor) -> Tensor:
        """Enlarge logits to the padded images, cut the padding off, and resize to the original images."""
        if logits.shape[-2:] != padded.shape[-2:]:
            logits = F.interpolate(logits, padded.shape[-2:], mode="bilinear", align_corners=False)
        logits = logits[..., : covered[0], : covered[1]]
        if logits.shape[-2:] != images.shape[-2:]:
            logits = F.interpolate(logits, images.shape[-2:], mode="bilinear", align_corners=False)
        return logits
