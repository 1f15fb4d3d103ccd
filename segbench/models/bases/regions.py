"""torchvision's proposals and heads of the R-CNN family, with few waits of the host for the device.

The numbers are torchvision's. It selects boxes image by image and criterion by criterion, and each selection
waits; here one wait serves all images.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F
from torchvision.models.detection._utils import BoxCoder, Matcher, encode_boxes
from torchvision.models.detection.anchor_utils import AnchorGenerator
from torchvision.models.detection.image_list import ImageList
from torchvision.models.detection.roi_heads import RoIHeads, maskrcnn_inference, maskrcnn_loss
from torchvision.models.detection.rpn import RegionProposalNetwork
from torchvision.ops import clip_boxes_to_image

from segbench.copying import upload
from segbench.models.layers.selection import first, indices, suppressed
from segbench.models.losses.sampling import Sampler

SMALLEST_PROPOSAL, SMALLEST_OBJECT = 1e-3, 1e-2
"""Minimum width and height of boxes, in pixels."""


class Anchors(AnchorGenerator):
    """Anchors of all levels."""

    def forward(self, images: ImageList, levels: list[Tensor]) -> list[Tensor]:
        height, width = images.tensors.shape[-2:]
        grids = [level.shape[-2:] for level in levels]
        self.set_cell_anchors(levels[0].dtype, levels[0].device)
        strides: Any = [[height // h, width // w] for h, w in grids]
        anchors = torch.cat(self.grid_anchors(grids, strides))
        return [anchors] * len(images.image_sizes)


class Coder(BoxCoder):
    """Offsets from boxes to objects."""

    def encode_single(self, reference_boxes: Tensor, proposals: Tensor) -> Tensor:
        weights = upload(self.weights, proposals.device, reference_boxes.dtype)
        return encode_boxes(reference_boxes, proposals, weights)

    def decode_single(self, rel_codes: Tensor, boxes: Tensor) -> Tensor:
        start, end = boxes.to(rel_codes.dtype)[:, None].split(2, 2)
        offset, growth = rel_codes.unflatten(1, (-1, 4)).split(2, 2)
        extent = end - start
        centre = offset / upload(self.weights[:2], boxes.device) * extent + (start + 0.5 * extent)
        growth = (growth / upload(self.weights[2:], boxes.device)).clamp(max=self.bbox_xform_clip)
        half = 0.5 * (growth.exp() * extent)
        return torch.cat([centre - half, centre + half], 2).flatten(1)


class LowQualityMatcher(Matcher):
    """Each object also gets the anchors that overlap it most."""

    def set_low_quality_matches_(self, matches: Tensor, all_matches: Tensor, quality: Tensor) -> None:
        best = (quality == quality.amax(1, keepdim=True)).any(0)
        matches.copy_(torch.where(best, all_matches, matches))


def large(boxes: Tensor, least: float) -> Tensor:
    """Return which of N x 4 boxes are at least `least` pixels wide and high."""
    return (boxes[..., 2:] - boxes[..., :2] >= least).all(-1)


class Proposals(RegionProposalNetwork):
    """The region proposal network."""

    fg_bg_sampler: Any

    def __init__(
        self, anchors: Anchors, head: torch.nn.Module, training: int, testing: int, overlap: float
    ) -> None:
        counts = {"training": training, "testing": testing}
        super().__init__(anchors, head, 0.7, 0.3, 256, 0.5, counts, counts, overlap)
        self.box_coder = Coder((1.0, 1.0, 1.0, 1.0))
        self.proposal_matcher = LowQualityMatcher(0.7, 0.3, allow_low_quality_matches=True)
        self.fg_bg_sampler = Sampler(256, 0.5)

    def filter_proposals(
        self,
        proposals: Tensor,
        objectness: Tensor,
        image_shapes: list[tuple[int, int]],
        num_anchors_per_level: list[int],
    ) -> tuple[list[Tensor], list[Tensor]]:
        objectness = objectness.detach().reshape(len(proposals), -1)
        best = self._get_top_n_idx(objectness, num_anchors_per_level)
        levels = torch.cat(
            [
                torch.full((count,), level, device=best.device)
                for level, count in enumerate(num_anchors_per_level)
            ]
        )
        scores = objectness.gather(1, best).sigmoid()
        boxes = proposals.gather(1, best[..., None].expand(-1, -1, 4))
        clipped = [clip_boxes_to_image(own, shape) for own, shape in zip(boxes, image_shapes)]
        right = [
            large(own, SMALLEST_PROPOSAL) & (score >= self.score_thresh)
            for own, score in zip(clipped, scores)
        ]
        found, found_scores = [], []
        for chosen, own, score, level in zip(indices(right), clipped, scores, levels[best]):
            own, score = own[chosen], score[chosen]
            keep = suppressed(own, score, level[chosen], self.nms_thresh)[: self.post_nms_top_n()]
            found.append(own[keep])
            found_scores.append(score[keep])
        return found, found_scores

    def compute_loss(
        self,
        objectness: Tensor,
        pred_bbox_deltas: Tensor,
        labels: list[Tensor],
        regression_targets: list[Tensor],
    ) -> tuple[Tensor, Tensor]:
        start = 0
        objects, others = self.fg_bg_sampler(labels)
        for image, one in enumerate(labels):
            objects[image], others[image] = objects[image] + start, others[image] + start
            start += len(one)
        positive = torch.cat(objects)
        drawn = torch.cat([positive, *others])
        box_loss = F.smooth_l1_loss(
            pred_bbox_deltas[positive], torch.cat(regression_targets)[positive], beta=1 / 9, reduction="sum"
        ) / len(drawn)
        loss = F.binary_cross_entropy_with_logits(objectness.flatten()[drawn], torch.cat(labels)[drawn])
        return loss, box_loss


class Regions(RoIHeads):
    """Heads that classify regions, refine their boxes and predict masks."""

    fg_bg_sampler: Any

    def __init__(
        self, *parts: Any, overlap: float, rois: int, weights: tuple[float, ...], score: float, count: int
    ) -> None:
        super().__init__(*parts, overlap, overlap, rois, 0.25, weights, score, 0.5, count)
        self.box_coder = Coder(weights)
        self.fg_bg_sampler = Sampler(rois, 0.25)

    def subsample(self, labels: list[Tensor]) -> list[Tensor]:
        pairs = zip(*self.fg_bg_sampler(labels))
        return [torch.cat(pair).sort().values for pair in pairs]

    def objects(self, labels: list[Tensor]) -> list[Tensor]:
        """Indices of the objects among the regions that `select_training_samples` chose last."""
        return [first(one > 0, count) for one, count in zip(labels, self.fg_bg_sampler.objects)]

    def postprocess_detections(
        self,
        class_logits: Tensor,
        box_regression: Tensor,
        proposals: list[Tensor],
        image_shapes: list[tuple[int, int]],
    ) -> tuple[list[Tensor], list[Tensor], list[Tensor]]:
        counts, classes = [len(p) for p in proposals], class_logits.shape[-1]
        decoded = self.box_coder.decode(box_regression, proposals).split(counts)
        boxes = [
            clip_boxes_to_image(own, shape)[:, 1:].reshape(-1, 4) for own, shape in zip(decoded, image_shapes)
        ]
        scores = [own[:, 1:].reshape(-1) for own in class_logits.softmax(-1).split(counts)]
        right = [
            (score > self.score_thresh) & large(own, SMALLEST_OBJECT) for own, score in zip(boxes, scores)
        ]
        found: list[tuple[Tensor, Tensor, Tensor]] = []
        for chosen, own, score in zip(indices(right), boxes, scores):
            own, score, label = own[chosen], score[chosen], chosen % (classes - 1) + 1
            keep = suppressed(own, score, label, self.nms_thresh)[: self.detections_per_img]
            found.append((own[keep], score[keep], label[keep]))
        all_boxes, all_scores, all_labels = (list(part) for part in zip(*found))
        return all_boxes, all_scores, all_labels

    def forward(
        self,
        features: dict[str, Tensor],
        proposals: list[Tensor],
        image_shapes: list[tuple[int, int]],
        targets: list[dict[str, Tensor]] | None = None,
    ) -> tuple[list[dict[str, Tensor]], dict[str, Tensor]]:
        if targets is None:
            return self.detect(features, proposals, image_shapes), {}
        return [], self.losses(features, proposals, image_shapes, targets)

    def _boxes(self, features: dict[str, Tensor], boxes: list[Tensor], shapes: list[tuple[int, int]]) -> Any:
        return self.box_predictor(self.box_head(self.box_roi_pool(features, boxes, shapes)))

    def _masks(
        self, features: dict[str, Tensor], boxes: list[Tensor], shapes: list[tuple[int, int]]
    ) -> Tensor:
        return self.mask_predictor(self.mask_head(self.mask_roi_pool(features, boxes, shapes)))

    def detect(
        self, features: dict[str, Tensor], proposals: list[Tensor], shapes: list[tuple[int, int]]
    ) -> list[dict[str, Tensor]]:
        """Boxes, labels, scores and, where there is a mask head, masks of the objects of each image."""
        logits, offsets = self._boxes(features, proposals, shapes)
        found = self.postprocess_detections(logits, offsets, proposals, shapes)
        objects = [dict(zip(("boxes", "scores", "labels"), one)) for one in zip(*found)]
        if self.has_mask():
            masks = maskrcnn_inference(self._masks(features, found[0], shapes), found[2])
            for one, mask in zip(objects, masks):
                one["masks"] = mask
        return objects

    def losses(
        self,
        features: dict[str, Tensor],
        proposals: list[Tensor],
        shapes: list[tuple[int, int]],
        targets: list[dict[str, Tensor]],
    ) -> dict[str, Tensor]:
        """Losses of the classes, the boxes and the masks."""
        boxes, matched, labels, offsets = self.select_training_samples(proposals, targets)
        logits, found = self._boxes(features, boxes, shapes)
        objects, together = self.objects(labels), torch.cat(labels)
        positive = first(together > 0, sum(self.fg_bg_sampler.objects))
        box_reg = F.smooth_l1_loss(
            found.reshape(len(found), -1, 4)[positive, together[positive]],
            torch.cat(offsets)[positive],
            beta=1 / 9,
            reduction="sum",
        )
        losses = {
            "classifier": F.cross_entropy(logits, together),
            "box_reg": box_reg / together.numel(),
        }
        if self.has_mask():
            regions, matched = ([x[i] for x, i in zip(xs, objects)] for xs in (boxes, matched))
            losses["mask"] = maskrcnn_loss(
                self._masks(features, regions, shapes),
                regions,
                [t["masks"] for t in targets],
                [t["labels"] for t in targets],
                matched,
            )
        return losses
