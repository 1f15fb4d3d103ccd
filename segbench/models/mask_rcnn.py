"""Mask R-CNN (He et al. 2017) with a feature pyramid (Lin et al. 2017), from torchvision's parts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torchvision.models.detection.anchor_utils import AnchorGenerator
from torchvision.models.detection.faster_rcnn import FastRCNNPredictor, TwoMLPHead
from torchvision.models.detection.image_list import ImageList
from torchvision.models.detection.mask_rcnn import MaskRCNNHeads, MaskRCNNPredictor
from torchvision.models.detection.roi_heads import RoIHeads, paste_masks_in_image
from torchvision.models.detection.rpn import RegionProposalNetwork, RPNHead
from torchvision.ops import FeaturePyramidNetwork, MultiScaleRoIAlign
from torchvision.ops.feature_pyramid_network import LastLevelMaxPool
from torchvision.ops.poolers import initLevelMapper

from segbench.data.dataset import View
from segbench.errors import SegbenchError
from segbench.models.backbones import Backbone, pad_to_multiple
from segbench.models.network import Instances, Network, Prediction, Target

PASTE_PIXELS = 2**24
"""Most pixels of masks that are pasted at once (64 MiB in float32)."""


class MaskRCNN(Network):
    """Equal to torchvision's `maskrcnn_resnet50_fpn`, except that images come normalised and resized.

    anchor_sizes: side in pixels of the square anchor, one for each of the strides 4, 8, 16, 32 and 64.
    rois_per_image: regions per image that the losses of the box head (a quarter of them: the mask head) see.
    class_agnostic_masks: one mask a region for whatever its class (section 4.1 of the paper: about as good);
    it learns from few examples of many classes.
    detections_per_image bounds the objects of one image. frozen_norm: see `Backbone`.
    """

    tasks = ("instance",)

    def __init__(
        self,
        view: View,
        in_channels: int,
        backbone: str = "resnet50",
        frozen_norm: bool = False,
        fpn_channels: int = 256,
        box_channels: int = 1024,
        mask_channels: int = 256,
        class_agnostic_masks: bool = False,
        anchor_sizes: Sequence[int] = (32, 64, 128, 256, 512),
        aspect_ratios: Sequence[float] = (0.5, 1.0, 2.0),
        proposals_training: int = 2000,
        proposals_testing: int = 1000,
        rois_per_image: int = 512,
        detections_per_image: int = 100,
        score_threshold: float = 0.05,
    ) -> None:
        super().__init__(view, in_channels)
        if len(anchor_sizes) != 5:
            raise SegbenchError(
                f"{list(anchor_sizes)} has {len(anchor_sizes)} entries",
                where="anchor_sizes",
                remedy="give five, one for each of the strides 4, 8, 16, 32 and 64",
            )
        classes = len(view.classes) + 1  # torchvision's class 0 is the background
        self.backbone = Backbone(backbone, in_channels, (-4, -3, -2, -1), frozen_norm=frozen_norm)
        self.fpn = FeaturePyramidNetwork(self.backbone.channels, fpn_channels, LastLevelMaxPool())
        anchors = AnchorGenerator(
            tuple((s,) for s in anchor_sizes), (tuple(aspect_ratios),) * len(anchor_sizes)
        )
        proposals = {"training": proposals_training, "testing": proposals_testing}
        self.rpn = RegionProposalNetwork(
            anchors,
            RPNHead(fpn_channels, len(aspect_ratios)),
            fg_iou_thresh=0.7,
            bg_iou_thresh=0.3,
            batch_size_per_image=256,
            positive_fraction=0.5,
            pre_nms_top_n=proposals,
            post_nms_top_n=proposals,
            nms_thresh=0.7,
        )
        self.roi_heads = RoIHeads(
            roi_align(7, self.backbone.reductions),
            TwoMLPHead(fpn_channels * 7 * 7, box_channels),
            FastRCNNPredictor(box_channels, classes),
            fg_iou_thresh=0.5,
            bg_iou_thresh=0.5,
            batch_size_per_image=rois_per_image,
            positive_fraction=0.25,
            bbox_reg_weights=None,
            score_thresh=score_threshold,
            nms_thresh=0.5,
            detections_per_img=detections_per_image,
            mask_roi_pool=roi_align(14, self.backbone.reductions),
            mask_head=MaskRCNNHeads(fpn_channels, (mask_channels,) * 4, dilation=1),
            mask_predictor=MaskRCNNPredictor(
                mask_channels, mask_channels, 1 if class_agnostic_masks else classes
            ),
        )
        if class_agnostic_masks:
            self.roi_heads.mask_predictor.register_forward_hook(
                lambda _, __, m: m.expand(-1, classes, -1, -1)
            )
        # torchvision decodes boxes in the precision of the offsets: 8 bits of bf16 are not enough for pixels
        for head in (self.fpn, self.rpn.head, self.roi_heads.box_predictor, self.roi_heads.mask_predictor):
            head.register_forward_hook(as_float)

    def pyramid(self, images: Tensor) -> tuple[ImageList, dict[str, Tensor]]:
        """The batch in torchvision's form, and features by level: 0 to 3 (strides 4 to 32) and pool (64)."""
        padded = pad_to_multiple(images, 32)
        features = self.fpn({str(i): f for i, f in enumerate(self.backbone(padded))})
        return ImageList(padded, [tuple(images.shape[-2:])] * len(images)), features

    def forward(self, images: Tensor) -> list[dict[str, Tensor]]:
        """In the input's pixels: boxes N x 4, labels N (from 1), scores N, masks N x 1 x 28 x 28 in 0..1."""
        self.rpn.eval()
        self.roi_heads.eval()
        batch, features = self.pyramid(images)
        proposals, _ = self.rpn(batch, features)
        detections, _ = self.roi_heads(features, proposals, batch.image_sizes)
        return detections

    def losses(self, images: Tensor, targets: list[Target]) -> dict[str, Tensor]:
        # torchvision's parts give losses in training mode only; there is no norm or dropout inside
        self.rpn.train()
        self.roi_heads.train()
        batch, features = self.pyramid(images)
        truth = [to_torchvision(t) for t in targets]
        proposals, rpn_losses = self.rpn(batch, features, truth)
        _, roi_losses = self.roi_heads(features, proposals, batch.image_sizes, truth)
        return {name.removeprefix("loss_"): loss for name, loss in (rpn_losses | roi_losses).items()}

    @torch.inference_mode()
    def predict(self, images: Tensor, sizes: list[tuple[int, int]]) -> list[Prediction]:
        height, width = images.shape[-2:]
        predictions = []
        for found, size in zip(self(images), sizes):
            factor = found["boxes"].new_tensor([size[1] / width, size[0] / height])
            boxes = found["boxes"] * factor.repeat(2)
            masks = paste(found["masks"], boxes, size)
            instances = Instances(found["scores"], found["labels"] - 1, masks, boxes)
            predictions.append(Prediction(instances=instances))
        return predictions


def roi_align(size: int, reductions: Sequence[int]) -> MultiScaleRoIAlign:
    """RoIAlign of size x size over the levels with these strides.

    torchvision guesses the strides from the first image it sees, wrongly for small padded ones; we know them.
    """
    align = MultiScaleRoIAlign([str(i) for i in range(len(reductions))], size, sampling_ratio=2)
    align.scales = [1 / r for r in reductions]
    align.map_levels = initLevelMapper(reductions[0].bit_length() - 1, reductions[-1].bit_length() - 1)
    return align


def as_float(module: nn.Module, inputs: Any, outputs: Any) -> Any:
    """Forward hook: tensors, and those in tuples, lists and dicts, in float32."""
    if isinstance(outputs, Tensor):
        return outputs.float()
    if isinstance(outputs, dict):
        return {k: v.float() for k, v in outputs.items()}
    return type(outputs)(as_float(module, inputs, o) for o in outputs)


def to_torchvision(target: Target) -> dict[str, Tensor]:
    """Labels from 1; boxes at least one pixel wide and high, since the losses take the logarithm of sizes."""
    boxes = target["boxes"]
    boxes = torch.cat([boxes[:, :2], torch.maximum(boxes[:, 2:], boxes[:, :2] + 1)], 1)
    return {"boxes": boxes, "labels": target["labels"] + 1, "masks": target["masks"]}


def paste(masks: Tensor, boxes: Tensor, size: tuple[int, int]) -> Tensor:
    """N x 1 x 28 x 28 probabilities inside boxes -> N x H x W bool, a bounded number at a time."""
    chunk = max(1, PASTE_PIXELS // (size[0] * size[1]))
    pasted = [
        paste_masks_in_image(m, b, size)[:, 0] > 0.5 for m, b in zip(masks.split(chunk), boxes.split(chunk))
    ]
    return torch.cat(pasted)
