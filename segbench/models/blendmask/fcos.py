"""The detector in BlendMask: Tian et al. 2019, FCOS (1904.01355), as in the authors' AdelaiDet.

torchvision's FCOS puts its places on the corners of cells and has other losses; only its towers are the same.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torchvision.models.detection.fcos import FCOSClassificationHead, FCOSRegressionHead
from torchvision.ops import batched_nms

from segbench.models.layers.heads import group_norm, initialise, rows
from segbench.models.losses.detection import class_focal, side_giou


class Places(NamedTuple):
    """Of L places, level after level: centre L x 2 (x, y), stride, and least and most reach of objects."""

    centre: Tensor
    stride: Tensor
    least: Tensor
    most: Tensor

    def assign(self, boxes: Tensor, radius: float) -> tuple[Tensor, Tensor]:
        """Object of each place or -1, and the distances to its left, upper, right, lower side: L, L x 4.

        A place takes the smallest of the N x 4 `boxes` that it is in, at most `radius` strides from its
        middle, with the farthest side in the level's range.
        """
        if not len(boxes):
            nothing = torch.full_like(self.stride, -1, dtype=torch.int64)
            return nothing, self.stride.new_zeros(len(nothing), 4)
        centre = self.centre[:, None]
        sides = torch.cat([centre - boxes[:, :2], boxes[:, 2:] - centre], 2)
        away = (centre - (boxes[:, :2] + boxes[:, 2:]) / 2).abs().amax(2)
        reach = sides.amax(2)
        fits = (sides.amin(2) > 0) & (away < radius * self.stride[:, None])
        fits &= (reach >= self.least[:, None]) & (reach <= self.most[:, None])
        area = (boxes[:, 2:] - boxes[:, :2]).prod(1)
        smallest, chosen = torch.where(fits, area, torch.inf).min(1)
        place = torch.arange(len(chosen), device=boxes.device)
        return torch.where(smallest < torch.inf, chosen, -1), sides[place, chosen]


def places(levels: list[Tensor], strides: Sequence[int], limits: Sequence[float]) -> Places:
    """The middle of each cell of the levels' maps; `limits` divide the reach of objects between them."""
    device = levels[0].device
    edges = [-1, *limits, torch.inf]
    centres, of_level = [], []
    for level, stride, least, most in zip(levels, strides, edges[:-1], edges[1:]):
        y, x = (torch.arange(side, device=device) * stride + stride // 2 for side in level.shape[-2:])
        centres.append(torch.cartesian_prod(y, x).flip(1).float())
        values = torch.tensor([stride, least, most], dtype=torch.float, device=device)
        of_level.append(values.expand(len(centres[-1]), 3))
    return Places(torch.cat(centres), *torch.cat(of_level).unbind(1))


class Detections(NamedTuple):
    """Of L places: class and centreness logits, distances to the sides in strides, and `top` features.

    B x L x classes, B x L, B x L x 4, B x L x channels.
    """

    classes: Tensor
    centreness: Tensor
    sides: Tensor
    top: Tensor
    places: Places
    counts: list[int]
    """Places of each level."""

    def best(
        self, image: int, threshold: float, candidates: int, overlap: float, count: int
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Boxes, scores, labels and places of the objects of an image, by falling score.

        A score is the root of class times centreness, the product at least `threshold`. NMS with the IoU
        `overlap` sees the `candidates` best of each level; `count` remain at most.
        """
        scores = self.classes[image].sigmoid() * self.centreness[image].sigmoid()[:, None]
        found, start = [], 0
        for level in scores.split(self.counts):
            value, index = level.flatten().topk(min(candidates, level.numel()))
            found.append(index[value > threshold] + start)
            start += level.numel()
        chosen = torch.cat(found)
        place, label = chosen // scores.shape[1], chosen % scores.shape[1]
        sides = self.sides[image, place] * self.places.stride[place, None]
        centre = self.places.centre[place]
        boxes = torch.cat([centre - sides[:, :2], centre + sides[:, 2:]], 1)
        score = scores[place, label].sqrt()
        keep = batched_nms(boxes, score, label, overlap)[:count]
        return boxes[keep], score[keep], label[keep], place[keep]


class FCOS(nn.Module):
    """Levels B x channels x h x w with `strides` -> `Detections`; `top_channels` come from the box tower.

    limits: sizes in pixels between neighbouring levels, one less than these. radius: see `Places.assign`.
    """

    def __init__(
        self,
        channels: int,
        classes: int,
        convolutions: int,
        top_channels: int,
        strides: Sequence[int],
        limits: Sequence[float],
        radius: float,
    ) -> None:
        super().__init__()
        self.strides, self.limits, self.radius = tuple(strides), tuple(limits), radius
        self.classes = FCOSClassificationHead(channels, 1, classes, convolutions, norm_layer=group_norm)
        self.boxes = FCOSRegressionHead(channels, 1, convolutions, norm_layer=group_norm)
        self.top = nn.Conv2d(channels, top_channels, 3, padding=1)
        initialise(self.top)

    def forward(self, levels: list[Tensor]) -> Detections:
        towers = [self.boxes.conv(level) for level in levels]
        return Detections(
            self.classes(levels).float(),
            rows([self.boxes.bbox_ctrness(t) for t in towers]).float()[..., 0],
            rows([self.boxes.bbox_reg(t) for t in towers]).float().relu(),
            rows([self.top(t) for t in towers]).float(),
            places(levels, self.strides, self.limits),
            [level.shape[2] * level.shape[3] for level in levels],
        )

    def assign(self, found: Detections, boxes: list[Tensor]) -> tuple[Tensor, Tensor]:
        """B x L objects of the places, counted through the batch, or -1, and B x L x 4 sides in strides."""
        objects, sides, start = [], [], 0
        for one in boxes:
            chosen, distances = found.places.assign(one, self.radius)
            objects.append(torch.where(chosen < 0, -1, chosen + start))
            sides.append(distances / found.places.stride[:, None])
            start += len(one)
        return torch.stack(objects), torch.stack(sides)


def centreness(sides: Tensor) -> Tensor:
    """Root of the ratios of opposite sides, nearer by farther: N x 4 -> N."""
    left, upper, right, lower = sides.unbind(-1)
    ratio = torch.minimum(left, right) / torch.maximum(left, right)
    return (ratio * torch.minimum(upper, lower) / torch.maximum(upper, lower)).sqrt()


def detection_losses(
    found: Detections, objects: Tensor, sides: Tensor, labels: Tensor
) -> tuple[dict[str, Tensor], Tensor]:
    """Losses, and the weight of each place that has an object: its share of the sum of their centreness.

    objects and sides: from `FCOS.assign`; labels: of the objects of the batch.
    """
    background = labels.new_tensor([found.classes.shape[-1]])
    has = objects >= 0
    count = has.sum().clamp(min=1)
    target = centreness(sides[has])
    weight = target / target.sum().clamp(min=1e-6)
    losses = {
        "class": class_focal(found.classes, torch.cat([labels, background])[objects]) / count,
        "box": (side_giou(found.sides[has], sides[has]) * weight).sum(),
        "centreness": F.binary_cross_entropy_with_logits(found.centreness[has], target, reduction="sum")
        / count,
    }
    return losses, weight
