"""Bases of networks that predict (class, mask) pairs."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from segbench.contract.prediction import Prediction, Target
from segbench.contract.view import View
from segbench.copying import upload
from segbench.models.layers.backbones import Backbone, pad_to_multiple
from segbench.models.layers.mask_prediction import best_objects, enlarged, instances, panoptic, semantic_map
from segbench.models.layers.mask_queries import MaskQueries
from segbench.models.layers.selection import indices
from segbench.models.layers.weight_decay import backbone_tables, norm_parameters
from segbench.models.losses.segments import segments_of
from segbench.models.losses.set_criterion import SetCriterion
from segbench.models.network import Network
from segbench.models.whole_batch import only_counts

STRIDE, MASK_STRIDE = 32, 4


class MaskNetwork(Network):
    """Semantic, instance and panoptic segmentation from the (class, mask) pairs of one architecture.

    Args:
        view: task and classes to predict.
        in_channels: channels of the images.
        detections: maximum number of objects per image.
        object_threshold: class score above which a query becomes a panoptic segment.
        overlap_threshold: minimum share of its own mask that a panoptic segment must win.
    """

    tasks = ("semantic", "instance", "panoptic")

    def __init__(
        self,
        view: View,
        in_channels: int,
        detections: int = 100,
        object_threshold: float = 0.8,
        overlap_threshold: float = 0.8,
    ) -> None:
        super().__init__(view, in_channels)
        self.detections = detections
        self.object_threshold, self.overlap_threshold = object_threshold, overlap_threshold

    def prediction(
        self,
        classes: Tensor,
        masks: Tensor,
        covered: tuple[int, int],
        size: tuple[int, int],
        stride: float = MASK_STRIDE,
    ) -> Prediction:
        """Predict an image from its Q x (classes + 1) and Q x h x w logits, see `enlarged`."""
        prediction: Prediction[Tensor] = Prediction()
        if self.view.task != "instance":
            prediction.semantic = semantic_map(classes, enlarged(masks, covered, stride, size))
        if self.view.task != "semantic":
            query, label, score = best_objects(classes, self.detections)
            (thing,) = indices([torch.isin(label, upload(self.view.thing_indices, label.device))])
            strips = enlarged(masks[query[thing]], covered, stride, size)
            prediction.instances = instances(label[thing], score[thing], strips)
        if self.view.task == "panoptic":
            score, label = classes.softmax(-1).max(-1)
            (keep,) = indices([(label < len(self.view.classes)) & (score > self.object_threshold)])
            strips = enlarged(masks[keep], covered, stride, size)
            prediction.panoptic = panoptic(
                label[keep], score[keep], strips, self.view.thing_indices, self.overlap_threshold
            )
        return prediction


class MaskClassifier(MaskNetwork):
    """Base of MaskFormer and Mask2Former.

    `forward` returns `MaskQueries`; their masks cover the image, padded to a multiple of `STRIDE` at right
    and below.

    Args:
        view: task and classes to predict.
        in_channels: channels of the images.
        backbone: timm name of the backbone.
        frozen_norm: fix the batch norms of the backbone, see `Backbone`.
        options: arguments of `MaskNetwork`.
    """

    criterion: SetCriterion
    query_decoder: nn.Module
    """Its own parameters, not those of its layers, are the embeddings of queries and levels."""

    def __init__(
        self,
        view: View,
        in_channels: int,
        backbone: str = "resnet50",
        frozen_norm: bool = False,
        **options: Any,
    ) -> None:
        super().__init__(view, in_channels, **options)
        self.backbone = Backbone(backbone, in_channels, out_indices=(-4, -3, -2, -1), frozen_norm=frozen_norm)

    def forward(self, images: Tensor) -> MaskQueries:
        return self.decode(self.backbone(pad_to_multiple(images, STRIDE)))

    def decode(self, features: list[Tensor]) -> MaskQueries:
        """Predict queries from the features of stride 4, 8, 16 and 32."""
        raise NotImplementedError

    def no_weight_decay(self) -> set[str]:
        """Name norms, embeddings of queries and levels, and position tables; biases decay.

        As the authors' code does: https://github.com/facebookresearch/Mask2Former, `train_net.py`, with
        `WEIGHT_DECAY_NORM` and `WEIGHT_DECAY_EMBED` of 0.
        """
        own = self.query_decoder.named_parameters(recurse=False)
        embeddings = {f"query_decoder.{name}" for name, _ in own}
        return norm_parameters(self) | backbone_tables(self) | embeddings

    def losses(self, images: Tensor, targets: list[Target]) -> dict[str, Tensor]:
        segments = segments_of(self.view.task, targets, len(self.view.classes))
        if only_counts():
            self.criterion.counts(segments, len(self.query_decoder.get_parameter("query_places")))
            return {}
        return self.criterion(self(images), segments)

    @torch.inference_mode()
    def predict(self, images: Tensor, sizes: list[tuple[int, int]]) -> list[Prediction]:
        output: MaskQueries = self(images)
        covered = (images.shape[2], images.shape[3])
        return [
            self.prediction(classes, masks, covered, size)
            for classes, masks, size in zip(output.classes[-1].float(), output.masks().float(), sizes)
        ]
