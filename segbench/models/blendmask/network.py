"""BlendMask: Chen et al. 2020, "BlendMask: Top-Down Meets Bottom-Up for Instance Segmentation" (2001.00309).

Details that the paper does not specify follow the authors' AdelaiDet, with two exceptions:
- predicted boxes are clipped to the image before the masks are made, not after;
- void pixels and padding are excluded from the auxiliary semantic loss.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torchvision.ops import Conv2dNormActivation, clip_boxes_to_image, roi_align
from torchvision.ops.feature_pyramid_network import LastLevelP6P7

from segbench.contract.prediction import IGNORE, Prediction, Target
from segbench.contract.view import View
from segbench.models.bases.pyramid import PyramidNetwork
from segbench.models.blendmask.fcos import FCOS, Detections, detection_losses
from segbench.models.layers.box_masks import instances
from segbench.models.layers.selection import indices
from segbench.models.losses.semantic import cross_entropy

STRIDES = (8, 16, 32, 64, 128)
BASE_STRIDE = 4


class Bases(nn.Module):
    """Predict the bases, maps of the whole image, from the levels of stride 8, 16 and 32.

    Args:
        inputs: channels of the levels.
        channels: channels of the convolutions.
        bases: number of bases; the output is B x bases x H / 4 x W / 4.
        convolutions: convolutions before the bases are upsampled.
        semantic: number of classes of a second head on the finest level, for an auxiliary loss.
    """

    def __init__(self, inputs: int, channels: int, bases: int, convolutions: int, semantic: int) -> None:
        super().__init__()
        self.refine = nn.ModuleList(Conv2dNormActivation(inputs, channels, 3) for _ in range(3))
        self.tower = nn.Sequential(
            *(Conv2dNormActivation(channels, channels, 3) for _ in range(convolutions)),
            nn.Upsample(scale_factor=2, mode="bilinear", align_corners=False),
            Conv2dNormActivation(channels, channels, 3),
            nn.Conv2d(channels, bases, 1),
        )
        self.semantic = nn.Sequential(
            Conv2dNormActivation(inputs, channels, 3),
            Conv2dNormActivation(channels, channels, 3),
            nn.Conv2d(channels, semantic, 1),
        )

    def forward(self, levels: list[Tensor]) -> Tensor:
        first, *others = (refine(level) for refine, level in zip(self.refine, levels))
        for other in others:
            first = first + F.interpolate(other, first.shape[-2:], mode="bilinear", align_corners=False)
        return self.tower(first)


def blend(bases: Tensor, attention: Tensor) -> Tensor:
    """Compute the mask logits of N objects: the sum of the bases, weighted by attention at each pixel.

    See equations 3 to 5 of the paper.

    Args:
        bases: N x K x R x R, the K bases inside the box of each object.
        attention: N x K x M x M logits; they are upsampled, and a softmax over K is taken.

    Returns:
        N x R x R.
    """
    weight = F.interpolate(attention, bases.shape[-2:], mode="bilinear", align_corners=False).softmax(1)
    return (bases * weight).sum(1)


class BlendMask(PyramidNetwork):
    """FCOS whose box tower also predicts, for each object, coarse attention over bases of the whole image.

    Args:
        view: task and classes to predict.
        in_channels: channels of the images.
        convolutions: convolutions of each tower of FCOS.
        bases: number of bases.
        base_channels: channels of the branch that predicts the bases.
        base_convolutions: convolutions of this branch before it is enlarged.
        attention_size: side of the attention map of an object.
        mask_size: side of the mask inside a box.
        limits: sizes of objects, in pixels, that divide neighbouring levels.
        radius: maximum distance of a place from the centre of its object, in strides.
        semantic_weight: weight of the auxiliary semantic loss.
        score_threshold: minimum of class score times centreness, before the root.
        candidates: maximum number of candidates per level before NMS.
        overlap: IoU above which NMS suppresses.
        detections_per_image: maximum number of objects per image.
        options: arguments of `PyramidNetwork`.
    """

    tasks = ("instance",)
    depth = 3

    def __init__(
        self,
        view: View,
        in_channels: int,
        convolutions: int = 4,
        bases: int = 4,
        base_channels: int = 128,
        base_convolutions: int = 3,
        attention_size: int = 14,
        mask_size: int = 56,
        limits: Sequence[float] = (64, 128, 256, 512),
        radius: float = 1.5,
        semantic_weight: float = 0.3,
        score_threshold: float = 0.05,
        candidates: int = 1000,
        overlap: float = 0.6,
        detections_per_image: int = 100,
        **options: Any,
    ) -> None:
        super().__init__(view, in_channels, **options)
        classes = len(view.classes)
        self.fcos = FCOS(
            self.fpn_channels, classes, convolutions, bases * attention_size**2, STRIDES, limits, radius
        )
        self.bases = Bases(self.fpn_channels, base_channels, bases, base_convolutions, classes + 1)
        self.attention_shape = (bases, attention_size, attention_size)
        self.mask_size, self.semantic_weight = mask_size, semantic_weight
        self.score_threshold, self.candidates = score_threshold, candidates
        self.overlap, self.detections_per_image = overlap, detections_per_image

    @staticmethod
    def extra_levels(channels: int) -> LastLevelP6P7:
        """Make the convolutions that give strides 64 and 128, as in RetinaNet and FCOS."""
        return LastLevelP6P7(channels, channels)

    def forward(self, images: Tensor) -> list[dict[str, Tensor]]:
        """Detect the objects of B x in_channels x H x W images.

        Returns:
            For each image: boxes N x 4 in pixels, labels N (from 1), scores N, masks N x 1 x R x R in 0..1.
        """
        levels = list(self.levels(images).values())
        size = (images.shape[2], images.shape[3])
        return self.detect(self.fcos(levels), self.bases(levels[:3]), size)

    def detect(self, found: Detections, bases: Tensor, size: tuple[int, int]) -> list[dict[str, Tensor]]:
        """Make the output of `forward` from the predictions; `size` is the height and width of the images."""
        limits = (self.score_threshold, self.candidates, self.overlap, self.detections_per_image)
        objects = []
        best = [(clip_boxes_to_image(boxes, size), *others) for boxes, *others in found.best(*limits)]
        seen = indices([(boxes[:, 2:] > boxes[:, :2]).all(1) for boxes, *_ in best])
        for image, (parts, index) in enumerate(zip(best, seen)):
            boxes, scores, labels, place = (part[index] for part in parts)
            masks = self.masks(bases[image : image + 1], [boxes], found.top[image, place]).sigmoid()
            objects.append({"boxes": boxes, "labels": labels + 1, "scores": scores, "masks": masks[:, None]})
        return objects

    def cut(self, bases: Tensor, boxes: list[Tensor]) -> Tensor:
        """Crop the bases to the boxes of each image: N x K x R x R."""
        return roi_align(bases.float(), boxes, self.mask_size, 1 / BASE_STRIDE, 1, aligned=True)

    def masks(self, bases: Tensor, boxes: list[Tensor], top: Tensor) -> Tensor:
        """Compute N x R x R mask logits inside boxes; `top` are the features of the boxes' places."""
        return blend(self.cut(bases, boxes), top.unflatten(1, self.attention_shape))

    def losses(self, images: Tensor, targets: list[Target]) -> dict[str, Tensor]:
        levels = list(self.levels(images).values())
        losses = self.object_losses(self.fcos(levels), self.bases(levels[:3]), targets)
        return losses | {"semantic": self.semantic_weight * self.semantic_loss(levels[0], targets)}

    def object_losses(self, found: Detections, bases: Tensor, targets: list[Target]) -> dict[str, Tensor]:
        """Compute the losses of FCOS and of the masks."""
        boxes = [t["boxes"] for t in targets]
        objects, sides = self.fcos.assign(found, boxes)
        (has,) = indices([(objects >= 0).flatten()])
        labels = torch.cat([t["labels"] for t in targets])
        losses, weight = detection_losses(found, objects, sides, labels, has)
        owner = objects.flatten()[has]
        whole = torch.cat([t["masks"] for t in targets])[:, None].float()
        each = torch.arange(len(whole), device=whole.device)[:, None]
        regions = torch.cat([each, torch.cat(boxes)], 1)
        truth = roi_align(whole, regions, self.mask_size, aligned=True)[:, 0] >= 0.5
        attention = found.top.flatten(0, 1)[has].unflatten(1, self.attention_shape)
        logits = blend(self.cut(bases, boxes)[owner], attention)
        wrong = F.binary_cross_entropy_with_logits(logits, truth[owner].float(), reduction="none")
        return losses | {"mask": (wrong.mean((1, 2)) * weight).sum()}

    def semantic_loss(self, finest: Tensor, targets: list[Target]) -> Tensor:
        """Compute the cross-entropy of classes and background; the last of overlapping objects counts."""
        logits = self.bases.semantic(finest)
        truth = torch.stack([semantic_truth(target, logits.shape[-2:]) for target in targets])
        return cross_entropy(logits, truth)

    @torch.inference_mode()
    def predict(self, images: Tensor, sizes: list[tuple[int, int]]) -> list[Prediction]:
        fed = (images.shape[2], images.shape[3])
        return [Prediction(instances=instances(found, fed, size)) for found, size in zip(self(images), sizes)]


def semantic_truth(target: Target, size: torch.Size) -> Tensor:
    """Make the semantic map of every eighth pixel.

    Args:
        target: target of an instance view.
        size: height and width of the map.

    Returns:
        h x w classes from 1, 0 for background, `IGNORE` for void and padding.
    """
    masks, valid = target["masks"][:, ::8, ::8], target["valid"][::8, ::8]
    order = torch.arange(1, len(masks) + 1, device=masks.device)[:, None, None]
    last = F.pad(masks * order, (0, 0, 0, 0, 1, 0)).amax(0)
    classes = torch.where(valid, F.pad(target["labels"] + 1, (1, 0))[last], IGNORE)
    return F.pad(classes, (0, size[1] - valid.shape[1], 0, size[0] - valid.shape[0]), value=IGNORE)
