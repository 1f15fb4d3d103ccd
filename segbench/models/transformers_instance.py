"""RF-DETR of the library transformers: objects with boxes and masks.

Robinson et al. 2025, "RF-DETR: Neural Architecture Search for Real-Time Detection Transformers" (2511.09554).
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F
from torchvision.ops import box_convert

from segbench.contract.prediction import Instances, Prediction, Target
from segbench.contract.view import View
from segbench.copying import upload
from segbench.errors import SegbenchError
from segbench.models.bases.transformers import build
from segbench.models.layers.mask_prediction import enlarged
from segbench.models.layers.selection import indices
from segbench.models.network import Network
from segbench.models.whole_batch import across_processes, divided, only_counts, total

NEEDS = {"transformers": "transformers"}
KNOWN = ("rf_detr",)
"""Architectures that predict boxes and masks of objects."""


class TransformersInstance(Network):
    """A network of `AutoModelForInstanceSegmentation` that predicts boxes and masks of objects.

    Images are resized to a square, as its authors do; the aspect ratio may change. Losses and their weights
    are the library's, in float32. Padding and regions of crowds are background, as in the authors' code.
    The score of an object is the probability of its class; the best `detections` pairs of a query and a
    class are objects.

    Args:
        view: classes to predict.
        in_channels: channels of the images.
        model_type: name of the architecture in the library, see `KNOWN`.
        config: values of its configuration that differ from the library's.
        input_side: height and width of the square, in pixels: a multiple of the side of a patch times the
            number of windows in a row. There must be a patch for each query.
        detections: maximum number of objects per image.
    """

    tasks = ("instance",)

    def __init__(
        self,
        view: View,
        in_channels: int,
        model_type: str = "rf_detr",
        config: dict[str, Any] | None = None,
        input_side: int = 384,
        detections: int = 100,
    ) -> None:
        super().__init__(view, in_channels)
        if model_type not in KNOWN:
            raise SegbenchError(
                f"'{model_type}' does not predict boxes and masks",
                where="options.model_type",
                remedy=f"choose from {', '.join(KNOWN)}",
            )
        config = {"backbone_config": {}, **(config or {})}
        values = {"model_type": "rf_detr_dinov2", "use_mask_token": False, **config["backbone_config"]}
        config["backbone_config"] = values
        self.net = build(
            "AutoModelForInstanceSegmentation", model_type, config, len(view.classes), in_channels
        )
        self.input_side, self.detections = input_side, detections
        self._check_side()
        self._library_loss = self.net.loss_function
        self.net.loss_function = self._loss

    def forward(self, images: Tensor) -> Any:
        """B x C x H x W -> the library's output: logits, boxes (centre and size, in 0..1) and masks."""
        return self.net(pixel_values=self._resized(images))

    def losses(self, images: Tensor, targets: list[Target]) -> dict[str, Tensor]:
        groups = self.net.config.group_detr if self.training else 1
        own = upload(groups * sum(len(t["labels"]) for t in targets), images.device, torch.float32)
        everywhere = total(own)
        if only_counts():
            return {}
        # the library divides by the mean number over the processes
        theirs = (across_processes(own, joined=False) / _processes()).clamp(min=1)
        output = self.net(pixel_values=self._resized(images), labels=self._labels(images, targets))
        weights = self._weights()
        losses: dict[str, Tensor] = {}
        for name, loss in output.loss_dict.items():
            kind = next((kind for kind in weights if name.startswith(f"loss_{kind}")), None)
            if kind is not None:
                whole = divided(weights[kind] * loss.sum() * theirs, everywhere.clamp(min=1))
                losses[kind] = losses.get(kind, 0) + whole
        return losses

    @torch.inference_mode()
    def predict(self, images: Tensor, sizes: list[tuple[int, int]]) -> list[Prediction]:
        output = self(images)
        values = output.logits.float(), output.pred_boxes.float(), output.pred_masks.float()
        return [self._prediction(*one) for one in zip(*values, sizes)]

    def _prediction(self, logits: Tensor, boxes: Tensor, masks: Tensor, size: tuple[int, int]) -> Prediction:
        scores, best = logits.sigmoid().flatten().topk(min(self.detections, logits.numel()))
        query, label = best // logits.shape[1], best % logits.shape[1]
        side, stride = self.input_side, self.input_side / masks.shape[-1]
        strips = [strip > 0 for strip in enlarged(masks[query], (side, side), stride, size)]
        whole = torch.cat(strips, dim=1)
        (keep,) = indices([whole.flatten(1).any(1)])
        scale = upload([size[1], size[0]] * 2, boxes.device)
        corners = box_convert(boxes[query], "cxcywh", "xyxy").clamp(0, 1) * scale
        return Prediction(instances=Instances(scores[keep], label[keep], whole[keep], corners[keep]))

    def _resized(self, images: Tensor) -> Tensor:
        size = self.input_side, self.input_side
        if images.shape[-2:] == size:
            return images
        return F.interpolate(images, size, mode="bilinear", antialias=True)

    @staticmethod
    def _labels(images: Tensor, targets: list[Target]) -> list[dict[str, Tensor]]:
        """Return the truth as the library takes it: boxes as centre and size, in 0..1."""
        height, width = images.shape[-2:]
        scale = upload([width, height] * 2, images.device)
        return [
            {
                "class_labels": one["labels"],
                "boxes": box_convert(one["boxes"], "xyxy", "cxcywh") / scale,
                "masks": one["masks"],
            }
            for one in targets
        ]

    def _weights(self) -> dict[str, float]:
        """Weight of each kind of loss, as the library multiplies them."""
        config = self.net.config
        return {
            "ce": config.class_loss_coefficient,
            "bbox": config.bbox_loss_coefficient,
            "giou": config.giou_loss_coefficient,
            "mask_ce": config.mask_class_loss_coefficient,
            "mask_dice": config.mask_dice_loss_coefficient,
        }

    def _loss(self, *arguments: Any, **options: Any) -> Any:
        """Call the library's loss in float32: it takes logarithms of probabilities."""
        with torch.autocast(self.net.device.type, enabled=False):
            return self._library_loss(*map(_float, arguments), **options)

    def _check_side(self) -> None:
        config = self.net.config
        backbone = config.backbone_config
        unit, patches = backbone.patch_size * backbone.num_windows, self.input_side // backbone.patch_size
        if self.input_side % unit or patches**2 < config.num_queries:
            raise SegbenchError(
                f"{self.input_side} is no multiple of {unit} (patches of {backbone.patch_size} pixels in "
                f"{backbone.num_windows} windows), or has less than {config.num_queries} patches",
                where="options.input_side",
                remedy="choose another side, or fewer queries (num_queries)",
            )


def _processes() -> int:
    return torch.distributed.get_world_size() if torch.distributed.is_initialized() else 1


def _float(value: Any) -> Any:
    """Convert floating-point tensors to float32, also in lists."""
    if isinstance(value, Tensor):
        return value.float() if value.is_floating_point() else value
    return [_float(one) for one in value] if isinstance(value, list | tuple) else value
