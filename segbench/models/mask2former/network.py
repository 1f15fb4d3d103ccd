"""Mask2Former: Cheng et al. 2022, "Masked-attention Mask Transformer for Universal Image Segmentation".

arXiv 2112.01527. Where the paper leaves a choice, this follows the authors' code
(github.com/facebookresearch/Mask2Former), but for two things:
- void pixels and padding, which the code counts as outside of every mask, take no part in the mask losses;
- the points of the matching are drawn once an image, not once an image and layer.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from segbench.data.dataset import View
from segbench.models.backbones import Backbone, pad_to_multiple
from segbench.models.mask2former.criterion import Criterion
from segbench.models.mask2former.pixel_decoder import PixelDecoder
from segbench.models.mask2former.query_decoder import MaskQueries, QueryDecoder
from segbench.models.mask_losses import segments_of
from segbench.models.mask_prediction import best_objects, enlarged, instances, panoptic, semantic_map
from segbench.models.network import Network, Prediction, Target

STRIDE, MASK_STRIDE = 32, 4


class Mask2Former(Network):
    """Semantic, instance and panoptic segmentation by one architecture.

    The `decoder_layers` visit strides 32, 16, 8, 32, ... in turn. `loss`: arguments of `Criterion`.
    `detections`: objects an image at most. `object_threshold`: class score from which a query becomes a
    panoptic segment; `overlap_threshold`: share of its own mask that it must win.
    """

    tasks = ("semantic", "instance", "panoptic")

    def __init__(
        self,
        view: View,
        in_channels: int,
        backbone: str = "resnet50",
        frozen_norm: bool = False,
        hidden_dim: int = 256,
        queries: int = 100,
        heads: int = 8,
        encoder_layers: int = 6,
        encoder_feedforward: int = 1024,
        decoder_layers: int = 9,
        decoder_feedforward: int = 2048,
        loss: dict[str, Any] | None = None,
        detections: int = 100,
        object_threshold: float = 0.8,
        overlap_threshold: float = 0.8,
    ) -> None:
        super().__init__(view, in_channels)
        self.backbone = Backbone(backbone, in_channels, out_indices=(-4, -3, -2, -1), frozen_norm=frozen_norm)
        self.pixel_decoder = PixelDecoder(
            self.backbone.channels, hidden_dim, heads, encoder_layers, encoder_feedforward
        )
        self.query_decoder = QueryDecoder(
            len(view.classes), hidden_dim, queries, heads, decoder_layers, decoder_feedforward
        )
        self.criterion = Criterion(**(loss or {}))
        self.detections = detections
        self.object_threshold, self.overlap_threshold = object_threshold, overlap_threshold

    def forward(self, images: Tensor) -> MaskQueries:
        """Masks cover the image padded to a multiple of 32 at its lower and right end."""
        return self.decode(self.backbone(pad_to_multiple(images, STRIDE)))

    def decode(self, features: list[Tensor]) -> MaskQueries:
        """Everything after the backbone; `features` of stride 4, 8, 16, 32."""
        return self.query_decoder(*self.pixel_decoder(features))

    def losses(self, images: Tensor, targets: list[Target]) -> dict[str, Tensor]:
        return self.criterion(self(images), segments_of(self.view.task, targets))

    @torch.inference_mode()
    def predict(self, images: Tensor, sizes: list[tuple[int, int]]) -> list[Prediction]:
        output = self(images)
        covered = (images.shape[2], images.shape[3])
        return [
            self._prediction(classes, masks, covered, size)
            for classes, masks, size in zip(output.classes[-1].float(), output.masks().float(), sizes)
        ]

    def _prediction(
        self, classes: Tensor, masks: Tensor, covered: tuple[int, int], size: tuple[int, int]
    ) -> Prediction:
        prediction = Prediction()
        if self.view.task != "instance":
            prediction.semantic = semantic_map(classes, enlarged(masks, covered, MASK_STRIDE, size))
        if self.view.task != "semantic":
            query, label, score = best_objects(classes, self.detections)
            thing = torch.isin(label, torch.tensor(self.view.thing_indices, device=label.device))
            strips = enlarged(masks[query[thing]], covered, MASK_STRIDE, size)
            prediction.instances = instances(label[thing], score[thing], strips)
        if self.view.task == "panoptic":
            score, label = classes.softmax(-1).max(-1)
            keep = (label < len(self.view.classes)) & (score > self.object_threshold)
            strips = enlarged(masks[keep], covered, MASK_STRIDE, size)
            prediction.panoptic = panoptic(
                label[keep], score[keep], strips, self.view.thing_indices, self.overlap_threshold
            )
        return prediction

    def load_backbone(self, state: dict[str, Tensor]) -> None:
        self.backbone.load(state)
