"""The detector of BlendMask: Tian et al. 2019, FCOS (1904.01355), as in the authors' AdelaiDet.

torchvision's FCOS has its places at the corners of cells and other losses; only its towers are used here.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torchvision.models.detection.fcos import FCOSClassificationHead, FCOSRegressionHead

from segbench.copying import upload
from segbench.models.layers.heads import group_norm, initialise, rows
from segbench.models.layers.selection import indices, suppressed
from segbench.models.losses.detection import class_focal, side_giou
from segbench.models.whole_batch import divided, total


class Places(NamedTuple):
    """The L places of all levels, level after level, in pixels of the image."""

    centre: Tensor
    """L x 2, (x, y)."""
    stride: Tensor
    """L."""
    least: Tensor
    """L: minimum distance to the farthest side of an object that the place predicts."""
    most: Tensor
    """L: maximum of this distance."""

    def assign(self, boxes: Tensor, radius: float) -> tuple[Tensor, Tensor]:
        """Assign objects to places.

        A place predicts the smallest object whose box contains it, whose centre is within `radius` strides,
        and whose farthest side is in the range of the place's level.

        Args:
            boxes: N x 4 (x0, y0, x1, y1).
            radius: maximum distance from the centre of the box, along each axis, in strides.

        Returns:
            Object of each place or -1, L; and its distances to the left, upper, right and lower side, L x 4.
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
    """Make the places: the centres of all cells of the levels.

    Args:
        levels: maps B x C x h x w.
        strides: stride of each level.
        limits: distances in pixels that divide neighbouring levels, see `Places`; one less than levels.
    """
    device = levels[0].device
    edges = [-1, *limits, torch.inf]
    centres, of_level = [], []
    for level, stride, least, most in zip(levels, strides, edges[:-1], edges[1:]):
        y, x = (torch.arange(side, device=device) * stride + stride // 2 for side in level.shape[-2:])
        centres.append(torch.cartesian_prod(y, x).flip(1).float())
        values = upload([stride, least, most], device, torch.float)
        of_level.append(values.expand(len(centres[-1]), 3))
    return Places(torch.cat(centres), *torch.cat(of_level).unbind(1))


class Detections(NamedTuple):
    """Predictions of FCOS at L places."""

    classes: Tensor
    """B x L x classes logits."""
    centreness: Tensor
    """B x L logits."""
    sides: Tensor
    """B x L x 4 distances to the left, upper, right and lower side, in strides."""
    top: Tensor
    """B x L x `top_channels` features."""
    places: Places
    counts: list[int]
    """Number of places of each level."""

    def best(
        self, threshold: float, candidates: int, overlap: float, count: int
    ) -> list[tuple[Tensor, Tensor, Tensor, Tensor]]:
        """Find the objects of each image by non-maximum suppression.

        The score of an object is the square root of class probability times centreness.

        Args:
            threshold: minimum of class probability times centreness, before the root.
            candidates: maximum number of candidates of each level.
            overlap: IoU above which NMS suppresses.
            count: maximum number of objects.

        Returns:
            For each image N x 4 boxes, and N scores, labels and places, by falling score.
        """
        scores = self.classes.sigmoid() * self.centreness.sigmoid()[..., None]
        classes = scores.shape[2]
        values, places, start = [], [], 0
        for level in scores.split(self.counts, 1):
            value, index = level.flatten(1).topk(min(candidates, level[0].numel()))
            values.append(value)
            places.append(index + start)
            start += level[0].numel()
        enough = indices([*(torch.cat(values, 1) > threshold)])
        objects = []
        for image, (own, index) in enumerate(zip(torch.cat(places, 1), enough)):
            place, label = own[index] // classes, own[index] % classes
            sides = self.sides[image, place] * self.places.stride[place, None]
            centre = self.places.centre[place]
            boxes = torch.cat([centre - sides[:, :2], centre + sides[:, 2:]], 1)
            score = scores[image, place, label].sqrt()
            keep = suppressed(boxes, score, label, overlap)[:count]
            objects.append((boxes[keep], score[keep], label[keep], place[keep]))
        return objects


class FCOS(nn.Module):
    """Detect objects on the levels of a feature pyramid.

    Args:
        channels: channels of the levels, each B x channels x h x w.
        classes: number of classes.
        convolutions: convolutions of each tower.
        top_channels: number of additional features of each place, predicted from the box tower.
        strides: stride of each level.
        limits: see `places`.
        radius: see `Places.assign`.
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
        """Assign the objects of a batch to places.

        Args:
            found: the predictions.
            boxes: N x 4 boxes of the objects of each image.

        Returns:
            B x L indices of objects, counted over the whole batch, or -1; and B x L x 4 sides in strides.
        """
        objects, sides, start = [], [], 0
        for one in boxes:
            chosen, distances = found.places.assign(one, self.radius)
            objects.append(torch.where(chosen < 0, -1, chosen + start))
            sides.append(distances / found.places.stride[:, None])
            start += len(one)
        return torch.stack(objects), torch.stack(sides)


def centreness(sides: Tensor) -> Tensor:
    """Compute the centreness (FCOS, equation 3) from N x 4 distances to the sides: N in 0..1."""
    left, upper, right, lower = sides.unbind(-1)
    ratio = torch.minimum(left, right) / torch.maximum(left, right)
    return (ratio * torch.minimum(upper, lower) / torch.maximum(upper, lower)).sqrt()


def detection_losses(
    found: Detections, objects: Tensor, sides: Tensor, labels: Tensor, has: Tensor
) -> tuple[dict[str, Tensor], Tensor]:
    """Compute the losses of classes, boxes and centreness.

    Args:
        found: the predictions.
        objects: see `FCOS.assign`.
        sides: see `FCOS.assign`.
        labels: labels of the objects of the batch.
        has: ascending indices of the places that have an object, in the flattened batch.

    Returns:
        Losses by name, and the weight of each place that has an object: its share of their total centreness
        in the whole batch.
    """
    count = total(upload(len(has), labels.device)).clamp(min=1)
    sides = sides.flatten(0, 1)[has]
    target = centreness(sides)
    weight = divided(target, total(target.sum()).clamp(min=1e-6))
    losses = {
        "class": divided(
            class_focal(found.classes, F.pad(labels, (0, 1), value=found.classes.shape[-1])[objects]), count
        ),
        "box": (side_giou(found.sides.flatten(0, 1)[has], sides) * weight).sum(),
        "centreness": divided(
            F.binary_cross_entropy_with_logits(found.centreness.flatten()[has], target, reduction="sum"),
            count,
        ),
    }
    return losses, weight
