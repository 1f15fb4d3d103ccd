"""Base of the R-CNN family, from torchvision's parts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torchvision.models.detection.image_list import ImageList
from torchvision.models.detection.rpn import RPNHead

from segbench.contract.prediction import Prediction, Target
from segbench.contract.view import View
from segbench.errors import SegbenchError
from segbench.models.bases.pyramid import STRIDE, PyramidNetwork
from segbench.models.bases.regions import Anchors, Proposals
from segbench.models.layers.backbones import pad_to_multiple
from segbench.models.layers.box_masks import instances
from segbench.models.layers.full_precision import keep_float
from segbench.models.layers.roi_align import PyramidAlign
from segbench.models.whole_batch import part_of_mean

NORM_EPSILON = 1e-5
"""Added to the variance by batch norms."""


class RCNN(PyramidNetwork):
    """Base of the R-CNN family: feature pyramid and region proposals. Subclasses add the heads.

    Args:
        view: classes to predict.
        in_channels: channels of the images.
        anchor_sizes: side in pixels of the square anchor at each of the strides 4, 8, 16, 32 and 64.
        aspect_ratios: height over width of the anchors.
        proposals_training: maximum number of proposals of an image in training, before and after NMS.
        proposals_testing: the same in prediction.
        options: arguments of `PyramidNetwork`.
    """

    def __init__(
        self,
        view: View,
        in_channels: int,
        *,
        anchor_sizes: Sequence[int] = (32, 64, 128, 256, 512),
        aspect_ratios: Sequence[float] = (0.5, 1.0, 2.0),
        proposals_training: int = 2000,
        proposals_testing: int = 1000,
        **options: Any,
    ) -> None:
        super().__init__(view, in_channels, **options)
        if len(anchor_sizes) != 5:
            raise SegbenchError(
                f"{list(anchor_sizes)} has {len(anchor_sizes)} entries",
                where="anchor_sizes",
                remedy="give five, one for each of the strides 4, 8, 16, 32 and 64",
            )
        anchors = Anchors(tuple((s,) for s in anchor_sizes), (tuple(aspect_ratios),) * len(anchor_sizes))
        head = RPNHead(self.fpn_channels, len(aspect_ratios))
        self.rpn = Proposals(anchors, head, proposals_training, proposals_testing, overlap=0.7)
        keep_float(self.fpn, self.rpn.head)

    def roi_align(self, size: int) -> PyramidAlign:
        """RoIAlign of size x size over the levels of stride 4 to 32."""
        return PyramidAlign(size, self.backbone.reductions)

    def pyramid(self, images: Tensor) -> tuple[ImageList, dict[str, Tensor]]:
        """The batch in torchvision's form, and features by level: 0 to 3 (strides 4 to 32) and pool (64)."""
        padded = pad_to_multiple(images, STRIDE)
        return ImageList(padded, [tuple(images.shape[-2:])] * len(images)), self.levels(padded)

    def propose(
        self, batch: ImageList, features: dict[str, Tensor], truth: list[dict[str, Tensor]]
    ) -> tuple[list[Tensor], dict[str, Tensor]]:
        """Proposals of each image and the losses of the region proposals; `truth` as torchvision has it."""
        self.rpn.train()  # torchvision's gives losses in training mode only; it has no norm or dropout
        proposals, losses = self.rpn(batch, features, truth)
        drawn = self.rpn.fg_bg_sampler.drawn
        return proposals, {n.removeprefix("loss_"): part_of_mean(loss, drawn) for n, loss in losses.items()}

    def forward(self, images: Tensor) -> list[dict[str, Tensor]]:
        """In the input's pixels: boxes N x 4, labels N (from 1), scores N, and where the network predicts
        masks: masks N x 1 x 28 x 28 in 0..1."""
        raise NotImplementedError

    @torch.inference_mode()
    def predict(self, images: Tensor, sizes: list[tuple[int, int]]) -> list[Prediction]:
        fed = (images.shape[-2], images.shape[-1])
        return [Prediction(instances=instances(found, fed, size)) for found, size in zip(self(images), sizes)]


def to_torchvision(target: Target) -> dict[str, Tensor]:
    """Convert a target to torchvision's form: labels from 1, boxes at least one pixel wide and high, masks if
    there are any.

    The losses take the logarithm of the sizes of boxes.
    """
    boxes = target["boxes"]
    boxes = torch.cat([boxes[:, :2], torch.maximum(boxes[:, 2:], boxes[:, :2] + 1)], 1)
    masks = {"masks": target["masks"]} if "masks" in target else {}
    return {"boxes": boxes, "labels": target["labels"] + 1, **masks}


def load_torchvision(network: RCNN, state: dict[str, Tensor]) -> None:
    """Load a state dict of torchvision's `fasterrcnn_resnet50_fpn` or `maskrcnn_resnet50_fpn`."""
    # norms that are frozen count no batches
    own = {k: v for k, v in network.state_dict().items() if k.endswith("num_batches_tracked")}
    for name, value in state.items():
        name = name.replace("backbone.body.", "backbone.net.model.").replace("backbone.fpn.", "fpn.")
        own[name] = value
    network.load_state_dict(own)


def load_torchvision_coco_v1(network: RCNN, state: dict[str, Tensor]) -> None:
    """Load the published weights COCO_V1, whose batch norms have an epsilon of 0."""
    state = dict(state)
    for name in [name for name in state if name.endswith(".running_var")]:
        weight = name.replace("running_var", "weight")
        state[weight] = (state[weight].double() / state[name].double().sqrt()).float()
        state[name] = torch.full_like(state[name], 1 - NORM_EPSILON)
    load_torchvision(network, state)
