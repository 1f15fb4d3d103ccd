"""Base of SOLO and SOLOv2: grids of cells, each of which predicts the class and mask of one object."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torchvision.ops import Conv2dNormActivation

from segbench.contract.prediction import Instances, Prediction, Target
from segbench.contract.view import View
from segbench.copying import upload
from segbench.errors import SegbenchError
from segbench.models.bases.pyramid import STRIDE, PyramidNetwork
from segbench.models.layers.heads import group_norm, initialise, rows
from segbench.models.layers.mask_prediction import enlarged
from segbench.models.layers.selection import indices
from segbench.models.layers.weight_decay import backbone_tables
from segbench.models.losses.detection import class_focal
from segbench.models.losses.segments import Segments, segments_of
from segbench.models.solo.grid import Cells, assign
from segbench.models.solo.matrix_nms import matrix_nms
from segbench.models.whole_batch import divided, only_counts, total

MASK_STRIDE = 4
RANGES = ((1, 96), (48, 192), (96, 384), (192, 768), (384, 2048))


def conv(inputs: int, outputs: int, kernel_size: int = 3) -> nn.Module:
    """Make a convolution with group norm and ReLU."""
    return Conv2dNormActivation(inputs, outputs, kernel_size, norm_layer=group_norm)


def tower(inputs: int, channels: int, length: int) -> nn.Sequential:
    """Make a sequence of `length` convolutions with `channels` channels."""
    return nn.Sequential(*(conv(inputs if i == 0 else channels, channels) for i in range(length)))


def expect_background(*layers: nn.Module, probability: float = 0.01) -> None:
    """Set the biases so that all outputs start at `probability`, the focal loss's prior (Lin et al. 2017)."""
    for layer in layers:
        nn.init.constant_(layer.get_parameter("bias"), math.log(probability / (1 - probability)))


class GridNetwork(PyramidNetwork):
    """Base of SOLO and SOLOv2. Details that the papers do not specify follow mmdetection's heads.

    Args:
        view: task and classes to predict.
        in_channels: channels of the images.
        head_channels: channels of the towers.
        convolutions: convolutions of each tower.
        grids: cells along a side, for each of five levels.
        scale_ranges: minimum and maximum size in pixels (geometric mean of width and height) of the objects
            that each grid predicts.
        centre_size: share of an object's box, around its centre, whose cells predict it.
        dice_weight: weight of the Dice loss of the masks.
        score_threshold: minimum class score before matrix NMS.
        keep_threshold: minimum score after matrix NMS.
        nms_sigma: sigma of the Gaussian kernel of matrix NMS.
        candidates: maximum number of masks in matrix NMS.
        detections_per_image: maximum number of objects per image.
        options: arguments of `PyramidNetwork`.
    """

    tasks = ("instance",)
    strides: ClassVar[tuple[int, ...]] = (8, 8, 16, 32, 32)
    """Strides of the features of each grid; the finest and the coarsest level are resized."""

    def __init__(
        self,
        view: View,
        in_channels: int,
        head_channels: int = 256,
        convolutions: int = 7,
        grids: Sequence[int] = (40, 36, 24, 16, 12),
        scale_ranges: Sequence[tuple[float, float]] = RANGES,
        centre_size: float = 0.2,
        dice_weight: float = 3.0,
        score_threshold: float = 0.1,
        keep_threshold: float = 0.05,
        nms_sigma: float = 2.0,
        candidates: int = 500,
        detections_per_image: int = 100,
        **options: Any,
    ) -> None:
        super().__init__(view, in_channels, **options)
        for name, values in {"grids": grids, "scale_ranges": scale_ranges}.items():
            if len(values) != len(self.strides):
                raise SegbenchError(
                    f"{list(values)} has {len(values)} entries",
                    where=name,
                    remedy="give five, one for each level of the pyramid",
                )
        self.grids, self.scale_ranges, self.centre_size = tuple(grids), scale_ranges, centre_size
        self.dice_weight = dice_weight
        self.score_threshold, self.keep_threshold = score_threshold, keep_threshold
        self.nms_sigma, self.candidates = nms_sigma, candidates
        self.detections_per_image = detections_per_image
        self.categories = tower(self.fpn_channels, head_channels, convolutions)
        self.category = nn.Conv2d(head_channels, len(view.classes), 3, padding=1)
        initialise(self.categories)
        initialise(self.category)
        expect_background(self.category)

    def no_weight_decay(self) -> set[str]:
        """Name position tables; norms and biases decay, as in github.com/WXinlong/SOLO."""
        return backbone_tables(self)

    def decode(self, features: list[Tensor]) -> tuple[list[Tensor], Any]:
        """Predict classes and masks from the five levels of the pyramid.

        Returns:
            Class logits of each grid, B x classes x grid x grid; and the subclass's representation of masks.
        """
        raise NotImplementedError

    def dice(self, masks: Any, truth: Segments, cells: Cells) -> Tensor:
        """Compute the Dice loss of the mask of every cell that was hit; `masks` are from `decode`."""
        raise NotImplementedError

    def probabilities(self, masks: Any, image: int, cell: Tensor) -> Tensor:
        """Compute mask probabilities of some cells of an image.

        Args:
            masks: from `decode`.
            image: index of the image.
            cell: N indices of cells, ascending.

        Returns:
            N x h x w at `MASK_STRIDE`.
        """
        raise NotImplementedError

    def forward(self, images: Tensor) -> tuple[list[Tensor], Any]:
        """Call `decode` on the levels of images, padded to a multiple of 32 below and at the right."""
        return self.decode(list(self.levels(images).values()))

    def resized(self, features: list[Tensor]) -> list[Tensor]:
        """Resize the finest and the coarsest level to the size of their neighbours."""
        first, second, *_, last_but_one, last = features
        first = F.interpolate(first, second.shape[-2:], mode="bilinear", align_corners=False)
        last = F.interpolate(last, last_but_one.shape[-2:], mode="bilinear", align_corners=False)
        return [first, *features[1:-1], last]

    def classify(self, features: list[Tensor]) -> list[Tensor]:
        """Compute class logits from features that were resized to the grids."""
        return [self.category(self.categories(f)).float() for f in features]

    def on_grids(self, features: list[Tensor]) -> list[Tensor]:
        """Resize each level to its grid."""
        return [
            F.interpolate(f, (grid, grid), mode="bilinear", align_corners=False)
            for f, grid in zip(features, self.grids)
        ]

    def level(self, cell: Tensor) -> tuple[Tensor, Tensor]:
        """Return the level of each cell, and its index within the level."""
        ends = upload(self.grids, cell.device).square().cumsum(0)
        level = torch.searchsorted(ends, cell, right=True)
        return level, cell - F.pad(ends, (1, 0))[level]

    def losses(self, images: Tensor, targets: list[Target]) -> dict[str, Tensor]:
        truth = segments_of("instance", targets)
        boxes = torch.cat([t["boxes"] for t in targets])
        height, width = (side + -side % STRIDE for side in images.shape[-2:])
        cells = assign(truth, boxes, (height, width), self.grids, self.scale_ranges, self.centre_size)
        found = total((cells.owner >= 0).sum())
        if only_counts():
            return {}
        categories, masks = self(images)
        focal = class_focal(rows(categories), cells.labels(truth, len(self.view.classes)))
        dice = self.dice(masks, truth, cells)
        return {
            "category": divided(focal, found + 1),
            "mask": self.dice_weight * divided(dice.sum(), found.clamp(min=1)),
        }

    @torch.inference_mode()
    def predict(self, images: Tensor, sizes: list[tuple[int, int]]) -> list[Prediction]:
        categories, masks = self(images)
        scores = rows([peaks(c.sigmoid()) for c in categories]).flatten(1)
        covered = (images.shape[2], images.shape[3])
        likely = indices([*(scores > self.score_threshold)])
        return [
            Prediction(instances=self._instances(score[index], index, masks, i, covered, size))
            for i, (score, index, size) in enumerate(zip(scores, likely, sizes))
        ]

    def _instances(
        self,
        score: Tensor,
        index: Tensor,
        masks: Any,
        image: int,
        covered: tuple[int, int],
        size: tuple[int, int],
    ) -> Instances:
        """Make the objects of an image.

        Args:
            score: scores of N pairs of a cell and a class.
            index: their ascending indices in the flattened cells x classes.
            masks: from `decode`.
            image: index of the image.
            covered: height and width of the network's input without padding.
            size: height and width of the original image.
        """
        cell, label = index // len(self.view.classes), index % len(self.view.classes)
        mask = self.probabilities(masks, image, cell)
        inside = mask > 0.5
        area = inside.sum((1, 2))
        score = score * (mask * inside).sum((1, 2)) / area.clamp(min=1)
        (large,) = indices([area > upload(self.strides, cell.device)[self.level(cell)[0]]])
        best = large[score[large].argsort(descending=True, stable=True)[: self.candidates]]
        score = matrix_nms(inside[best], label[best], score[best], self.nms_sigma)
        score, order = score.sort(descending=True, stable=True)
        (keep,) = indices([(score >= self.keep_threshold)[: self.detections_per_image]])
        best, score = best[order[keep]], score[keep]
        whole = torch.cat([s > 0.5 for s in enlarged(mask[best], covered, MASK_STRIDE, size)], 1)
        (seen,) = indices([whole.flatten(1).any(1)])
        return Instances(score[seen], label[best][seen], whole[seen])


def peaks(scores: Tensor) -> Tensor:
    """Set scores to zero where a neighbour above or to the left is greater."""
    return scores * (F.max_pool2d(scores, 2, stride=1, padding=1)[..., :-1, :-1] == scores)
