"""Mask R-CNN (He et al. 2017) with a feature pyramid (Lin et al. 2017), from torchvision's parts."""

from __future__ import annotations

from typing import Any

from torchvision.models.detection.mask_rcnn import MaskRCNNHeads, MaskRCNNPredictor

from segbench.contract.view import View
from segbench.models.faster_rcnn import FasterRCNN
from segbench.models.layers.full_precision import keep_float


class MaskRCNN(FasterRCNN):
    """Equal to torchvision's `maskrcnn_resnet50_fpn`, except that images come normalised and resized.

    Args:
        view: task and classes to predict.
        in_channels: channels of the images.
        mask_channels: channels of the mask head.
        class_agnostic_masks: predict one mask per region, whatever its class. About as good (section 4.1 of
            the paper), and it learns from fewer examples of each class.
        options: arguments of `FasterRCNN`.
    """

    tasks = ("instance",)

    def __init__(
        self,
        view: View,
        in_channels: int,
        *,
        mask_channels: int = 256,
        class_agnostic_masks: bool = False,
        **options: Any,
    ) -> None:
        super().__init__(view, in_channels, **options)
        classes = len(view.classes) + 1
        heads = self.roi_heads
        heads.mask_roi_pool = self.roi_align(14)
        heads.mask_head = MaskRCNNHeads(self.fpn_channels, (mask_channels,) * 4, dilation=1)
        heads.mask_predictor = MaskRCNNPredictor(
            mask_channels, mask_channels, 1 if class_agnostic_masks else classes
        )
        if class_agnostic_masks:
            heads.mask_predictor.register_forward_hook(lambda _, __, m: m.expand(-1, classes, -1, -1))
        keep_float(heads.mask_predictor)
