"""Networks of the library transformers for all tasks: OneFormer, EoMT, Mask2Former and MaskFormer."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from segbench.contract.prediction import Prediction, Target
from segbench.contract.view import View
from segbench.copying import upload
from segbench.errors import SegbenchError
from segbench.models.bases.mask_classifier import MaskNetwork
from segbench.models.bases.transformers import Framed, build, framed, timm_backbone
from segbench.models.layers.backbones import Backbone
from segbench.models.losses.segments import Segments, segments_of
from segbench.models.whole_batch import divided, only_counts, total

NEEDS = {"transformers": "transformers"}
KNOWN = ("eomt", "eomt_dinov3", "mask2former", "maskformer", "oneformer")
"""Architectures that predict (class, mask) pairs."""
LOSSES = ("cross_entropy", "mask", "dice", "contrastive")
"""Parts of the names of the library's losses."""
TASKS = ("semantic", "instance", "panoptic")


class TransformersUniversal(MaskNetwork):
    """A network of `AutoModelForUniversalSegmentation` that predicts (class, mask) pairs.

    Losses and their weights are the library's: void and padding count as outside of every mask, as in the
    authors' code. Predictions are made as those of `MaskFormer` in this package.

    OneFormer is told the task of its view. Its text encoder reads one token for each class instead of a
    sentence, so that it needs no vocabulary. EoMT takes images of any size: position embeddings are resized.
    Its attention is masked in training and in prediction.

    Args:
        view: task and classes to predict.
        in_channels: channels of the images.
        model_type: name of the architecture in the library, see `KNOWN`.
        config: values of its configuration that differ from the library's.
        backbone: timm name of a backbone, for architectures that take one (`backbone_config`).
        frozen_norm: fix its batch norms, see `Backbone`.
        multiple: images are padded to a multiple of this: the stride of the coarsest features.
        input_side: resize images to fit into a square of this side, for architectures that take one size.
        options: arguments of `MaskNetwork`.
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
        **options: Any,
    ) -> None:
        super().__init__(view, in_channels, **options)
        if model_type not in KNOWN:
            raise SegbenchError(
                f"'{model_type}' does not predict pairs of a class and a mask",
                where="options.model_type",
                remedy=f"choose from {', '.join(KNOWN)}",
            )
        classes, speaks = len(view.classes), model_type == "oneformer"
        if speaks:
            vocabulary = Words.vocabulary(classes)
            config = {"is_training": True, "text_encoder_vocab_size": vocabulary} | (config or {})
        kind = "AutoModelForUniversalSegmentation"
        self.net = build(kind, model_type, config, classes, in_channels, backbone, frozen_norm)
        self.words = Words(self.net.config, view.task, classes) if speaks else None
        self.multiple, self.input_side = multiple, input_side
        # what MaskFormer's auxiliary losses are computed from
        self.always = {"output_hidden_states": True} if model_type == "maskformer" else {}
        self.criterion = self.net.criterion
        del self.net.criterion
        self.net.criterion = self._whole_losses
        self._found: list[dict[str, Tensor]] = []
        self._own = self._all = torch.ones(2)
        table = getattr(getattr(self.net, "embeddings", None), "position_embeddings", None)
        if isinstance(table, nn.Embedding):
            self.net.embeddings.position_embeddings = AnyGrid(table, self.net.grid_size)

    @property
    def backbone(self) -> Backbone:
        """The timm backbone, if the network has one."""
        return timm_backbone(self.net)

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """B x C x H x W -> logits of classes (B x Q x classes + 1) and of masks (B x Q x h x w, padded)."""
        output = self._call(framed(images, self.multiple, self.input_side))
        return output.class_queries_logits, output.masks_queries_logits

    def losses(self, images: Tensor, targets: list[Target]) -> dict[str, Tensor]:
        segments = segments_of(self.view.task, targets, len(self.view.classes))
        self._own = self._counted(segments)
        self._all = total(self._own)
        if only_counts():
            return {}
        truth = framed(segments.masks[None].float(), self.multiple, self.input_side, "nearest").images[0]
        self._found.clear()
        self._call(
            framed(images, self.multiple, self.input_side),
            mask_labels=list(truth.split(segments.counts)),
            class_labels=list(segments.labels.split(segments.counts)),
        )
        losses: dict[str, Tensor] = {}
        for one in self._found:
            for name, loss in one.items():
                kind = next(kind for kind in LOSSES if kind in name)
                losses[kind] = losses.get(kind, 0) + loss.sum()
        self._found.clear()
        return losses

    @torch.inference_mode()
    def predict(self, images: Tensor, sizes: list[tuple[int, int]]) -> list[Prediction]:
        given = framed(images, self.multiple, self.input_side)
        output = self._call(given)
        classes, masks = output.class_queries_logits.float(), output.masks_queries_logits.float()
        stride = given.images.shape[-1] / masks.shape[-1]
        return [
            self.prediction(kind, mask, given.covered, size, stride)
            for kind, mask, size in zip(classes, masks, sizes)
        ]

    def _call(self, given: Framed, **labels: Any) -> Any:
        """Call the network, with the true segments of each image or without truth."""
        if hasattr(self.net, "grid_size"):
            height, width = given.images.shape[-2:]
            patch = self.net.config.patch_size
            self.net.grid_size = height // patch, width // patch
            for module in self.net.modules():
                if isinstance(module, AnyGrid):
                    module.grid = self.net.grid_size
        if self.words is not None:
            labels |= self.words.inputs(len(given.images), given.images.device, labels.get("class_labels"))
            self.net.model.is_training = "text_inputs" in labels
        return self.net(pixel_values=given.images, **labels, **self.always)

    def _counted(self, segments: Segments) -> Tensor:
        """Return what the library divides by: the sum of the queries' weights, and the number of masks."""
        config = self.net.config
        queries = getattr(config, "decoder_config", config).num_queries
        matched = sum(min(count, queries) for count in segments.counts)
        others = queries * len(segments.counts) - matched
        weight = matched + others * config.no_object_weight
        return upload([weight, max(1, sum(segments.counts))], segments.valid.device)

    def _whole_losses(self, *arguments: Any, **values: Any) -> dict[str, Tensor]:
        """Compute the library's losses in float32, and divide them by the numbers of the whole batch.

        The library multiplies them by their weights, in place. The contrastive loss compares the images of
        this part of the batch only.
        """
        with torch.autocast(self._own.device.type, enabled=False):
            losses = self.criterion(*_float(arguments), **_float(values))
        for name, loss in losses.items():
            if "contrastive" not in name:
                place = 0 if "cross_entropy" in name else 1
                losses[name] = divided(loss * self._own[place], self._all[place])
        self._found.append(losses)
        return losses


def _float(value: Any) -> Any:
    """Convert floating-point tensors to float32, also in lists and dictionaries."""
    if isinstance(value, Tensor):
        return value.float() if value.is_floating_point() else value
    if isinstance(value, dict):
        return {key: _float(one) for key, one in value.items()}
    return [_float(one) for one in value] if isinstance(value, list | tuple) else value


class AnyGrid(nn.Module):
    """Position embeddings of patches, resized bicubically to the grid of the images."""

    def __init__(self, table: nn.Embedding, own: tuple[int, int]) -> None:
        super().__init__()
        self.weight = table.weight
        self.own = self.grid = own

    def forward(self, places: Tensor) -> Tensor:
        if self.grid == self.own:
            return F.embedding(places, self.weight)
        table = self.weight.T.reshape(1, -1, *self.own)
        return F.interpolate(table, self.grid, mode="bicubic", antialias=True).flatten(2).mT


class Words:
    """What OneFormer reads: its task, and the classes of the true segments.

    The task is a unit vector instead of the tokens of "the task is panoptic". A text has two tokens, its
    class (or "nothing") and the end.

    Args:
        config: configuration of the network.
        task: task of the view.
        classes: number of classes.
    """

    def __init__(self, config: Any, task: str, classes: int) -> None:
        self.config, self.task = config, TASKS.index(task)
        self.nothing, self.end = classes + 1, classes + 2

    @staticmethod
    def vocabulary(classes: int) -> int:
        """Return the number of tokens: padding, one for each class, "nothing" and the end."""
        return classes + 3

    def inputs(self, images: int, device: torch.device, labels: list[Tensor] | None) -> dict[str, Tensor]:
        """Return the arguments of the network that name its task and, with true labels, its texts."""
        task = torch.zeros(images, self.config.task_seq_len, device=device)
        task[:, self.task] = 1
        if labels is None or not self.config.is_training:
            return {"task_inputs": task}
        count = self.config.num_queries - self.config.text_encoder_n_ctx
        texts = torch.zeros(
            images, count, self.config.text_encoder_context_length, dtype=torch.int64, device=device
        )
        texts[..., 0], texts[..., 1] = self.nothing, self.end
        for row, own in zip(texts, labels):
            row[: len(own), 0] = own[:count] + 1
        return {"task_inputs": task, "text_inputs": texts}
