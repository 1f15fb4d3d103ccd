"""Assignment of objects to cells of the grids: Wang et al. 2020, SOLO (1912.04488), section 3.3."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from segbench.models.bases.pyramid import STRIDE
from segbench.models.layers.backbones import pad_to_multiple
from segbench.models.losses.segments import Segments


class Cells(NamedTuple):
    """The cells of all grids in one row; objects by their place in `Segments`.

    owner B x cells is a cell's object, the last one of those that hit it, or -1. image, cell and object are
    of length hits: a cell is hit by each object whose centre it is near.
    """

    owner: Tensor
    image: Tensor
    cell: Tensor
    object: Tensor

    def labels(self, truth: Segments, background: int) -> Tensor:
        """B x cells: class of each cell's object."""
        labels = torch.cat([truth.labels, truth.labels.new_tensor([background])])
        return labels[self.owner]


def centres(masks: Tensor) -> Tensor:
    """Centre of mass (x, y) of each mask: N x H x W bool -> N x 2."""
    across = torch.arange(masks.shape[2], device=masks.device)
    down = torch.arange(masks.shape[1], device=masks.device)
    total = torch.stack([(masks.sum(1) * across).sum(1), (masks.sum(2) * down).sum(1)], 1)
    return total / masks.sum((1, 2)).clamp(min=1)[:, None]


@torch.no_grad()
def assign(
    truth: Segments,
    boxes: Tensor,
    size: tuple[int, int],
    grids: Sequence[int],
    ranges: Sequence[tuple[float, float]],
    centre_size: float,
) -> Cells:
    """A grid's cells are hit by the objects whose geometric mean of width and height is in the grid's range.

    Of these, cells that touch the box of `centre_size` times the object's around its centre of mass, at most
    3 x 3 of them. boxes: of the objects; size: height and width of the images with their padding.
    """
    extent = boxes[:, 2:] - boxes[:, :2]
    side = extent.prod(1).sqrt()
    centre, half = centres(truth.masks), extent * (0.5 * centre_size)
    whole = centre.new_tensor([size[1], size[0]])
    near = torch.arange(-1, 2, device=boxes.device)[:, None]
    objects, cells, start = [], [], 0
    for grid, (least, most) in zip(grids, ranges):
        # the division of the authors' code: another one puts centres on a cell's edge elsewhere
        middle, first, last = (
            torch.div(place / whole, 1 / grid, rounding_mode="trunc").long()
            for place in (centre, centre - half, centre + half)
        )
        block = middle[:, None] + near  # N x 3 x (x, y)
        inside = (block >= first[:, None].clamp(min=0)) & (block <= last[:, None].clamp(max=grid - 1))
        in_range = (side >= least) & (side <= most)
        hit = inside[:, :, None, 1] & inside[:, None, :, 0] & in_range[:, None, None]
        index = start + block[:, :, None, 1] * grid + block[:, None, :, 0]
        objects.append(hit.nonzero()[:, 0])
        cells.append(index[hit])
        start += grid**2
    object_, cell = torch.cat(objects), torch.cat(cells)
    image = truth.image[object_]
    owner = object_.new_full((len(truth.counts) * start,), -1)
    owner.scatter_reduce_(0, image * start + cell, object_, "amax")
    return Cells(owner.view(-1, start), image, cell, object_)


def reduced(masks: Tensor, stride: int) -> Tensor:
    """Pad N x H x W masks and reduce them bilinearly by `stride`; bool."""
    masks = pad_to_multiple(masks[:, None].float(), STRIDE)
    size = (masks.shape[2] // stride, masks.shape[3] // stride)
    return F.interpolate(masks, size, mode="bilinear", align_corners=False)[:, 0] >= 0.5


def with_coordinates(features: Tensor) -> Tensor:
    """Append two channels: x and y from -1 at the first to 1 at the last column and row (Liu et al. 2018)."""
    batch, _, height, width = features.shape
    y = torch.linspace(-1, 1, height, device=features.device, dtype=features.dtype)
    x = torch.linspace(-1, 1, width, device=features.device, dtype=features.dtype)
    return torch.cat(
        [features, x.expand(batch, 1, height, width), y[:, None].expand(batch, 1, height, width)], 1
    )
