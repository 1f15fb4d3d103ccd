"""Faster R-CNN (Ren et al. 2015) with a feature pyramid (Lin et al. 2017), from torchvision's parts."""

from __future__ import annotations

from typing import Any, ClassVar

from torch import Tensor
from torchvision.models.detection.faster_rcnn import FastRCNNPredictor, TwoMLPHead

from segbench.contract.prediction import Target
from segbench.contract.view import Task, View
from segbench.models.bases.rcnn import RCNN, to_torchvision
from segbench.models.bases.regions import Regions
from segbench.models.layers.full_precision import keep_float
from segbench.models.whole_batch import part_of_mean


class FasterRCNN(RCNN):
    """Equal to torchvision's `fasterrcnn_resnet50_fpn`, except that images come normalised and resized.

    It predicts boxes without masks. Of objects with masks, it learns the bounds of what a crop shows.

    Args:
        view: task and classes to predict.
        in_channels: channels of the images.
        box_channels: channels of the box head.
        rois_per_image: regions per image in the losses of the box head, at most a quarter of them objects.
        detections_per_image: maximum number of objects per image.
        score_threshold: minimum score of an object.
        options: arguments of `RCNN`.
    """

    tasks: ClassVar[tuple[Task, ...]] = ("detection", "instance")

    def __init__(
        self,
        view: View,
        in_channels: int,
        *,
        box_channels: int = 1024,
        rois_per_image: int = 512,
        detections_per_image: int = 100,
        score_threshold: float = 0.05,
        **options: Any,
    ) -> None:
        super().__init__(view, in_channels, **options)
        classes = len(view.classes) + 1  # torchvision's class 0 is the background
        self.roi_heads = Regions(
            self.roi_align(7),
            TwoMLPHead(self.fpn_channels * 7 * 7, box_channels),
            FastRCNNPredictor(box_channels, classes),
            overlap=0.5,
            rois=rois_per_image,
            weights=(10.0, 10.0, 5.0, 5.0),
            score=score_threshold,
            count=detections_per_image,
        )
        keep_float(self.roi_heads.box_predictor)

    def forward(self, images: Tensor) -> list[dict[str, Tensor]]:
        self.rpn.eval()
        batch, features = self.pyramid(images)
        proposals, _ = self.rpn(batch, features)
        detections, _ = self.roi_heads(features, proposals, batch.image_sizes)
        return detections

    def losses(self, images: Tensor, targets: list[Target]) -> dict[str, Tensor]:
        batch, features = self.pyramid(images)
        truth = [to_torchvision(t) for t in targets]
        proposals, losses = self.propose(batch, features, truth)
        _, found = self.roi_heads(features, proposals, batch.image_sizes, truth)
        sampler = self.roi_heads.fg_bg_sampler
        for name, loss in found.items():
            count = sum(sampler.objects) if name == "mask" else sampler.drawn
            losses[name] = part_of_mean(loss, count)
        return losses
