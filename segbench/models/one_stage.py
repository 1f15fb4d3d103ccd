"""One-stage detectors from torchvision: RetinaNet (Lin et al. 2017) and FCOS (Tian et al. 2019)."""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torchvision.models.detection.anchor_utils import AnchorGenerator
from torchvision.models.detection.fcos import FCOS as TorchvisionFCOS
from torchvision.models.detection.fcos import FCOSHead
from torchvision.models.detection.image_list import ImageList
from torchvision.models.detection.retinanet import RetinaNet as TorchvisionRetinaNet
from torchvision.ops.feature_pyramid_network import ExtraFPNBlock, LastLevelP6P7

from segbench.contract.prediction import Prediction, Target
from segbench.contract.view import Task, View
from segbench.errors import SegbenchError
from segbench.models.bases.pyramid import STRIDE, PyramidNetwork
from segbench.models.bases.rcnn import to_torchvision
from segbench.models.layers.backbones import pad_to_multiple
from segbench.models.layers.box_masks import instances
from segbench.models.layers.full_precision import keep_float
from segbench.models.whole_batch import part_of_mean

STRIDES = (8, 16, 32, 64, 128)
"""Strides of the pyramid's levels."""

GROUPS = 32
"""Groups of channels in the norms of FCOS's head; those of one channel have no variance at a single place."""


class OneStage(PyramidNetwork):
    """Base of the one-stage detectors: a pyramid of strides 8 to 128 and torchvision's head and losses.

    They predict boxes without masks. Of objects with masks, they learn the bounds of what a crop shows.
    """

    tasks: ClassVar[tuple[Task, ...]] = ("detection", "instance")
    depth = 3
    detector: Any

    @staticmethod
    def extra_levels(channels: int) -> ExtraFPNBlock:
        return LastLevelP6P7(channels, channels)

    def _feed(self) -> nn.Module:
        """Return a module in place of the backbone; torchvision's detector only reads its `out_channels`."""
        feed: Any = nn.Identity()
        feed.out_channels = self.fpn_channels
        return feed

    def _outputs(self, images: Tensor) -> tuple[dict[str, Tensor], list[Tensor], list[int]]:
        """The head's outputs of all places, the anchors of each image, and the number of places by level."""
        padded = pad_to_multiple(images, STRIDE)
        levels = list(self.levels(padded).values())
        sizes = [(images.shape[-2], images.shape[-1])] * len(images)
        anchors = self.detector.anchor_generator(ImageList(padded, sizes), levels)
        return self.detector.head(levels), anchors, [level[0, 0].numel() for level in levels]

    def forward(self, images: Tensor) -> list[dict[str, Tensor]]:
        """In the input's pixels: boxes N x 4, labels N (from 1), scores N."""
        outputs, anchors, places = self._outputs(images)
        each = [n * self.detector.anchor_generator.num_anchors_per_location()[0] for n in places]
        found = self.detector.postprocess_detections(
            {name: list(value.split(each, 1)) for name, value in outputs.items()},
            [list(a.split(each)) for a in anchors],
            [(images.shape[-2], images.shape[-1])] * len(images),
        )
        return [one | {"labels": one["labels"] + 1} for one in found]

    @torch.inference_mode()
    def predict(self, images: Tensor, sizes: list[tuple[int, int]]) -> list[Prediction]:
        fed = (images.shape[-2], images.shape[-1])
        return [Prediction(instances=instances(found, fed, size)) for found, size in zip(self(images), sizes)]


class RetinaNet(OneStage):
    """Equal to torchvision's `retinanet_resnet50_fpn`, except that images come normalised and resized.

    Its focal loss makes a class of every anchor, of which nearly all are background.

    Args:
        view: task and classes to predict.
        in_channels: channels of the images.
        anchor_sizes: side in pixels of the smallest anchor at each of the strides 8, 16, 32, 64 and 128.
            Those 2^(1/3) and 2^(2/3) times as large are added.
        detections_per_image: maximum number of objects per image.
        score_threshold: minimum score of an object.
        options: arguments of `PyramidNetwork`.
    """

    def __init__(
        self,
        view: View,
        in_channels: int,
        *,
        anchor_sizes: tuple[int, ...] = (32, 64, 128, 256, 512),
        detections_per_image: int = 300,
        score_threshold: float = 0.05,
        **options: Any,
    ) -> None:
        super().__init__(view, in_channels, **options)
        if len(anchor_sizes) != len(STRIDES):
            raise SegbenchError(
                f"{list(anchor_sizes)} has {len(anchor_sizes)} entries",
                where="anchor_sizes",
                remedy=f"give five, one for each of the strides {', '.join(map(str, STRIDES))}",
            )
        sizes = tuple((s, int(s * 2 ** (1 / 3)), int(s * 2 ** (2 / 3))) for s in anchor_sizes)
        self.detector = TorchvisionRetinaNet(
            self._feed(),
            len(view.classes),
            anchor_generator=AnchorGenerator(sizes, ((0.5, 1.0, 2.0),) * len(sizes)),
            score_thresh=score_threshold,
            detections_per_img=detections_per_image,
        )
        keep_float(self.fpn, self.detector.head)

    def losses(self, images: Tensor, targets: list[Target]) -> dict[str, Tensor]:
        outputs, anchors, _ = self._outputs(images)
        return self.detector.compute_loss(_truth(targets), outputs, anchors)


class FCOS(OneStage):
    """Equal to torchvision's `fcos_resnet50_fpn`, except that images come normalised and resized.

    Each place inside an object predicts the distances to the object's sides, and how near it is to its
    centre. It uses no anchors.

    Args:
        view: task and classes to predict.
        in_channels: channels of the images.
        detections_per_image: maximum number of objects per image.
        score_threshold: minimum score of an object, the root of the class's score times the centre-ness.
        options: arguments of `PyramidNetwork`; `fpn_channels` must be 64 or a larger multiple of 32, since
            the head normalises 32 groups of channels.

    Raises:
        SegbenchError: `fpn_channels` does not fit the groups.
    """

    def __init__(
        self,
        view: View,
        in_channels: int,
        *,
        detections_per_image: int = 100,
        score_threshold: float = 0.2,
        **options: Any,
    ) -> None:
        super().__init__(view, in_channels, **options)
        if self.fpn_channels % GROUPS or self.fpn_channels == GROUPS:
            raise SegbenchError(
                f"{self.fpn_channels} channels do not make {GROUPS} groups of several",
                where="fpn_channels",
                remedy="choose 64, 128 or 256",
            )
        self.detector = TorchvisionFCOS(
            self._feed(),
            len(view.classes),
            head=_CountingHead(self.fpn_channels, 1, len(view.classes)),
            score_thresh=score_threshold,
            detections_per_img=detections_per_image,
        )
        keep_float(self.fpn, self.detector.head)

    def losses(self, images: Tensor, targets: list[Target]) -> dict[str, Tensor]:
        outputs, anchors, places = self._outputs(images)
        losses = self.detector.compute_loss(_truth(targets), outputs, anchors, places)
        count = self.detector.head.count
        return {name: part_of_mean(loss, count) for name, loss in losses.items()}


class _CountingHead(FCOSHead):
    """FCOS's head, which keeps the number of places by which it has divided its losses."""

    count = 1

    def compute_loss(self, targets: Any, head_outputs: Any, anchors: Any, matched_idxs: Any) -> Any:
        self.count = max(1, int(sum((matched >= 0).sum() for matched in matched_idxs)))
        return super().compute_loss(targets, head_outputs, anchors, matched_idxs)


def _truth(targets: list[Target]) -> list[dict[str, Tensor]]:
    """Targets in torchvision's form; one-stage detectors count classes from 0."""
    return [truth | {"labels": truth["labels"] - 1} for truth in map(to_torchvision, targets)]
