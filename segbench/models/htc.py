"""Hybrid Task Cascade: Chen et al., CVPR 2019 (1901.07518), from torchvision's parts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torchvision.models.detection.faster_rcnn import FastRCNNPredictor, TwoMLPHead
from torchvision.models.detection.mask_rcnn import MaskRCNNHeads, MaskRCNNPredictor
from torchvision.models.detection.roi_heads import maskrcnn_loss
from torchvision.ops import Conv2dNormActivation, clip_boxes_to_image, masks_to_boxes

from segbench.contract.prediction import IGNORE, Instances, Panoptic, Prediction, Target
from segbench.contract.view import View
from segbench.copying import upload
from segbench.models.bases.rcnn import RCNN, to_torchvision
from segbench.models.bases.regions import Regions
from segbench.models.layers.box_masks import instances
from segbench.models.layers.full_precision import keep_float
from segbench.models.layers.mask_prediction import enlarged
from segbench.models.layers.roi_align import PyramidAlign
from segbench.models.layers.selection import first, indices
from segbench.models.layers.weight_decay import backbone_tables
from segbench.models.losses.semantic import cross_entropy
from segbench.models.whole_batch import divided, part_of_mean, total

OVERLAPS = (0.5, 0.6, 0.7)
"""Minimum IoU of a box with an object, by stage."""
DEVIATIONS = ((0.1, 0.2), (0.05, 0.1), (0.033, 0.067))
"""Standard deviations that divide the offsets of centre and logarithmic size, by stage."""
LOSS_WEIGHTS = (1.0, 0.5, 0.25)
"""Weights of the losses, by stage."""
STRIDE = 8
"""Stride of the semantic branch."""
CERTAIN, VISIBLE = 0.5, 0.5
"""Minimum score and minimum visible share of an object in the panoptic prediction."""


def conv(inputs: int, outputs: int, kernel: int) -> Conv2dNormActivation:
    """Convolution with bias, and ReLU."""
    return Conv2dNormActivation(inputs, outputs, kernel, norm_layer=None)


class SemanticBranch(nn.Module):
    """Resize all levels to the size of the second, add them and apply four convolutions (figure 4)."""

    def __init__(self, channels: int, levels: int, classes: int) -> None:
        super().__init__()
        self.laterals = nn.ModuleList(conv(channels, channels, 1) for _ in range(levels))
        self.convs = nn.Sequential(*(conv(channels, channels, 3) for _ in range(4)))
        self.embedding = conv(channels, channels, 1)
        self.logits = nn.Conv2d(channels, classes, 1)

    def forward(self, levels: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
        """(logits, features for the heads), B x ... x H / 8 x W / 8."""
        size = levels[1].shape[-2:]
        sized = [
            x if x.shape[-2:] == size else F.interpolate(x, size, mode="bilinear", align_corners=True)
            for x in levels
        ]
        x = self.convs(torch.stack([lateral(x) for lateral, x in zip(self.laterals, sized)]).sum(0))
        return self.logits(x), self.embedding(x)


class MaskHead(nn.Module):
    """Four convolutions on the features of a region, to which those of the stage before are added."""

    def __init__(self, inputs: int, channels: int, classes: int, first: bool) -> None:
        super().__init__()
        self.flow = None if first else conv(channels, inputs, 1)
        self.convs = MaskRCNNHeads(inputs, (channels,) * 4, dilation=1)
        self.predictor = MaskRCNNPredictor(channels, channels, classes)
        keep_float(self.predictor)

    def forward(self, x: Tensor, before: Tensor | None) -> Tensor:
        """N x inputs x 14 x 14 -> N x channels x 14 x 14, the input of `predictor`."""
        return self.convs(x if self.flow is None else x + self.flow(before))


class HTC(RCNN):
    """Equal to mmdetection's heads, except that RoIAlign and the mask targets are torchvision's.

    Three stages refine the boxes, with the same offsets for all classes; each trains a mask head on the boxes
    that it has refined, and passes its mask features to the next stage. The scores of a box are the softmax
    of its mean logits over the stages; its mask is the mean of the stages' probabilities.

    In a panoptic view a semantic branch learns the map of all classes, and its features are added to those of
    every region. The branch gives the semantic prediction and, with the objects, the panoptic one. In an
    instance view there is no such branch.

    Args:
        view: task and classes to predict.
        in_channels: channels of the images.
        box_channels: channels of the box heads.
        mask_channels: channels of the mask heads.
        rois_per_image: regions per image in the losses of each stage, at most a quarter of them objects.
        detections_per_image: maximum number of objects per image.
        score_threshold: minimum score of an object.
        semantic_weight: weight of the loss of the semantic branch.
        options: arguments of `RCNN`.
    """

    tasks = ("instance", "panoptic")
    things: Tensor

    def __init__(
        self,
        view: View,
        in_channels: int,
        *,
        box_channels: int = 1024,
        mask_channels: int = 256,
        rois_per_image: int = 512,
        detections_per_image: int = 100,
        score_threshold: float = 0.001,
        semantic_weight: float = 0.2,
        **options: Any,
    ) -> None:
        super().__init__(view, in_channels, **options)
        self.register_buffer("things", torch.tensor(view.thing_indices, dtype=torch.int64), persistent=False)
        classes = len(view.thing_indices) + 1  # torchvision's class 0 is the background
        self.semantic_weight = semantic_weight
        self.stages: Any = nn.ModuleList()
        for overlap, (centre, size) in zip(OVERLAPS, DEVIATIONS):
            predictor = FastRCNNPredictor(box_channels, classes)
            predictor.bbox_pred = nn.Linear(box_channels, 4)
            nn.init.normal_(predictor.bbox_pred.weight, std=0.001)
            nn.init.zeros_(predictor.bbox_pred.bias)
            keep_float(predictor)
            self.stages.append(
                Regions(
                    self.roi_align(7),
                    TwoMLPHead(self.fpn_channels * 7 * 7, box_channels),
                    predictor,
                    overlap=overlap,
                    rois=rois_per_image,
                    weights=(1 / centre, 1 / centre, 1 / size, 1 / size),
                    score=score_threshold,
                    count=detections_per_image,
                )
            )
        self.mask_align, self.semantic_align = self.roi_align(14), PyramidAlign(14, [STRIDE])
        self.mask_heads: Any = nn.ModuleList(
            MaskHead(self.fpn_channels, mask_channels, classes, first) for first in (True, False, False)
        )
        self.semantic = (
            SemanticBranch(self.fpn_channels, 5, len(view.classes)) if view.task == "panoptic" else None
        )
        if self.semantic:
            keep_float(self.semantic)

    def no_weight_decay(self) -> set[str]:
        """Name position tables; norms and biases decay, as in the authors' mmdetection."""
        return backbone_tables(self)

    def losses(self, images: Tensor, targets: list[Target]) -> dict[str, Tensor]:
        batch, features = self.pyramid(images)
        truth = [to_torchvision(t) for t in self._objects(targets)]
        proposals, losses = self.propose(batch, features, truth)
        logits, embedding = self._semantic(features)
        if logits is not None:
            semantic = torch.stack([semantic_cells(t, logits.shape[-2:]) for t in targets])
            losses["semantic"] = self.semantic_weight * cross_entropy(logits, semantic)
        return losses | self.cascade_losses(features, embedding, proposals, batch.image_sizes, truth)

    def cascade_losses(
        self,
        features: dict[str, Tensor],
        embedding: Tensor | None,
        boxes: list[Tensor],
        sizes: list[tuple[int, int]],
        truth: list[dict[str, Tensor]],
    ) -> dict[str, Tensor]:
        """Losses of the three stages; `boxes` are proposals, `truth` as torchvision has it."""
        losses: dict[str, Tensor] = {}
        for number, (stage, weight) in enumerate(zip(self.stages, LOSS_WEIGHTS), 1):
            boxes, _, labels, offsets = stage.select_training_samples(boxes, truth)
            scores, found = self.box_head(stage, features, embedding, boxes, sizes)
            objects = first(torch.cat(labels) > 0, sum(stage.fg_bg_sampler.objects))
            classifier, box_reg = box_losses(scores, found, torch.cat(labels), torch.cat(offsets), objects)
            losses |= {f"classifier_{number}": weight * classifier, f"box_reg_{number}": weight * box_reg}
            # `select_training_samples` adds the true boxes again
            own = indices([~(b[:, None] == t["boxes"]).all(-1).any(-1) for b, t in zip(boxes, truth)])
            boxes = [b[i] for b, i in zip(refined(stage, found.detach(), boxes, sizes), own)]
            regions, matched, labels, _ = stage.select_training_samples(boxes, truth)
            of_objects = stage.objects(labels)
            regions, matched = ([x[i] for x, i in zip(xs, of_objects)] for xs in (regions, matched))
            masks = self.mask_flow(features, embedding, regions, sizes, number)[-1]
            mask = maskrcnn_loss(
                self.mask_heads[number - 1].predictor(masks),
                regions,
                [t["masks"] for t in truth],
                [t["labels"] for t in truth],
                matched,
            )
            losses[f"mask_{number}"] = weight * part_of_mean(mask, sum(stage.fg_bg_sampler.objects))
        return losses

    def forward(self, images: Tensor) -> list[dict[str, Tensor]]:
        return self.detect(images)[0]

    def detect(self, images: Tensor) -> tuple[list[dict[str, Tensor]], Tensor | None]:
        """(what `RCNN.forward` describes, logits of the semantic branch B x classes x h x w)."""
        self.rpn.eval()
        batch, features = self.pyramid(images)
        proposals, _ = self.rpn(batch, features)
        logits, embedding = self._semantic(features)
        return self.objects(features, embedding, proposals, batch.image_sizes), logits

    def objects(
        self,
        features: dict[str, Tensor],
        embedding: Tensor | None,
        boxes: list[Tensor],
        sizes: list[tuple[int, int]],
    ) -> list[dict[str, Tensor]]:
        """Detections in images of `sizes`, from proposals."""
        scores, offsets = [], boxes[0].new_zeros(0)
        for number, stage in enumerate(self.stages):
            if number:
                boxes = refined(self.stages[number - 1], offsets, boxes, sizes)
            logits, offsets = self.box_head(stage, features, embedding, boxes, sizes)
            scores.append(logits)
        mean = torch.stack(scores).mean(0)
        found = stage.postprocess_detections(mean, offsets.repeat(1, mean.shape[1]), boxes, sizes)
        detections = [dict(zip(("boxes", "scores", "labels"), one)) for one in zip(*found)]
        boxes, labels = found[0], torch.cat(found[2])
        flow = self.mask_flow(features, embedding, boxes, sizes, len(self.mask_heads))
        stages = [head.predictor(x).sigmoid() for head, x in zip(self.mask_heads, flow)]
        masks = torch.stack(stages).mean(0)[torch.arange(len(labels), device=labels.device), labels]
        for one, mask in zip(detections, masks.split([len(b) for b in boxes])):
            one["masks"] = mask[:, None]
        return detections

    def box_head(
        self,
        stage: Any,
        features: dict[str, Tensor],
        embedding: Tensor | None,
        boxes: list[Tensor],
        sizes: list[tuple[int, int]],
    ) -> tuple[Tensor, Tensor]:
        """(logits N x classes, offsets N x 4) of all boxes of the batch."""
        x = stage.box_roi_pool(features, boxes, sizes)
        if embedding is not None:
            x = x + F.avg_pool2d(self.semantic_regions(embedding, boxes, sizes), 2)
        return stage.box_predictor(stage.box_head(x))

    def semantic_regions(
        self, embedding: Tensor, boxes: list[Tensor], sizes: list[tuple[int, int]]
    ) -> Tensor:
        """N x channels x 14 x 14 features of the semantic branch in all boxes of the batch."""
        return self.semantic_align({"0": embedding}, boxes, sizes)

    def mask_flow(
        self,
        features: dict[str, Tensor],
        embedding: Tensor | None,
        boxes: list[Tensor],
        sizes: list[tuple[int, int]],
        stages: int,
    ) -> list[Tensor]:
        """Mask features of all boxes of the batch, of the first stages: each N x channels x 14 x 14."""
        x = self.mask_align(features, boxes, sizes)
        if embedding is not None:
            x = x + self.semantic_regions(embedding, boxes, sizes)
        flow: list[Tensor] = []
        for head in self.mask_heads[:stages]:
            flow.append(head(x, flow[-1] if flow else None))
        return flow

    @torch.inference_mode()
    def predict(self, images: Tensor, sizes: list[tuple[int, int]]) -> list[Prediction]:
        fed = (images.shape[-2], images.shape[-1])
        detections, logits = self.detect(images)
        predictions = []
        for i, (found, size) in enumerate(zip(detections, sizes)):
            objects = instances(found, fed, size)
            prediction = Prediction(instances=objects)
            if logits is not None:
                objects.labels = self.things[objects.labels]
                strips = enlarged(logits[i], fed, STRIDE, size)
                prediction.semantic = torch.cat([strip.argmax(0) for strip in strips])
                prediction.panoptic = combined(
                    objects, prediction.semantic, self.things, len(self.view.classes)
                )
            predictions.append(prediction)
        return predictions

    def _semantic(self, features: dict[str, Tensor]) -> tuple[Tensor, Tensor] | tuple[None, None]:
        return (None, None) if self.semantic is None else self.semantic([*features.values()])

    def _objects(self, targets: list[Target]) -> list[Target]:
        """The things of targets, with labels that count things only."""
        same = [t["labels"][:, None] == self.things for t in targets]
        objects = []
        for target, own, keep in zip(targets, same, indices([s.any(1) for s in same])):
            masks = target["masks"][keep]
            boxes = masks_to_boxes(masks)
            boxes[:, 2:] += 1  # ends are exclusive
            objects.append({"labels": own[keep].int().argmax(1), "masks": masks, "boxes": boxes})
        return objects


def refined(stage: Any, offsets: Tensor, boxes: list[Tensor], sizes: list[tuple[int, int]]) -> list[Tensor]:
    """Decode the offsets that a stage predicts for its boxes, and clip the new boxes to the images."""
    decoded = stage.box_coder.decode(offsets, boxes)[:, 0].split([len(b) for b in boxes])
    return [clip_boxes_to_image(b, size) for b, size in zip(decoded, sizes)]


def box_losses(
    scores: Tensor, offsets: Tensor, labels: Tensor, truth: Tensor, objects: Tensor
) -> tuple[Tensor, Tensor]:
    """Cross-entropy over N boxes, and smooth L1 of the offsets (N x 4) of objects, both divided by N.

    N is the number in the whole batch, see `whole_batch`. `objects`: indices of the boxes of objects.
    """
    count = total(upload(len(labels), labels.device)).clamp(min=1)
    classifier = F.cross_entropy(scores, labels, reduction="sum")
    box_reg = F.smooth_l1_loss(offsets[objects], truth[objects], reduction="sum")
    return divided(classifier, count), divided(box_reg, count)


def semantic_cells(target: Target, size: Sequence[int]) -> Tensor:
    """h x w = `size` classes of the pixels in the middle of each cell, `IGNORE` where there is no segment."""
    masks = target["masks"][:, STRIDE // 2 :: STRIDE, STRIDE // 2 :: STRIDE]
    labels = F.pad(target["labels"], (1, 0), value=IGNORE)
    nothing = ~masks.any(0, keepdim=True)
    cells = labels[torch.cat([nothing, masks]).int().argmax(0)]
    return F.pad(cells, (0, size[1] - cells.shape[1], 0, size[0] - cells.shape[0]), value=IGNORE)


def combined(objects: Instances, semantic: Tensor, things: Tensor, classes: int) -> Panoptic:
    """Merge objects, by descending score, and stuff into segments (Kirillov et al. 2019, 1801.00868).

    Objects of a score below `CERTAIN`, or of which less than the share `VISIBLE` is left, are dropped.
    """
    assert isinstance(objects.masks, Tensor)
    (certain,) = indices([objects.scores >= CERTAIN])
    masks = objects.masks[certain]
    # candidates: none, the certain objects, and each class of stuff
    chosen = torch.zeros_like(semantic)
    taken = torch.zeros_like(semantic, dtype=torch.bool)
    seen = []
    for number, (mask, area) in enumerate(zip(masks, masks.sum((1, 2))), 1):
        free = mask & ~taken
        seen.append(free.sum() > VISIBLE * area)
        free &= seen[-1]
        taken |= free
        chosen.masked_fill_(free, number)
    is_stuff = torch.ones(classes, dtype=torch.bool, device=semantic.device).index_fill_(0, things, False)
    stuff = is_stuff[semantic] & ~taken
    chosen = torch.where(stuff, len(masks) + 1 + semantic, chosen)
    seen.append(
        semantic.new_zeros(classes + 1).index_fill_(0, torch.where(stuff, semantic, classes).flatten(), 1)
    )
    present = torch.cat([s.reshape(-1).long() for s in seen])[:-1]
    labels = torch.cat([objects.labels[certain], torch.arange(classes, device=semantic.device)])
    scores = F.pad(objects.scores[certain], (0, classes), value=1)
    (kept,) = indices([present > 0])
    return Panoptic(F.pad(present.cumsum(0) * present, (1, 0))[chosen], labels[kept], scores[kept])
