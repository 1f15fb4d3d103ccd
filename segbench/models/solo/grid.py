"""Assign objects to the cells of grids: Wang et al. 2020, SOLO (1912.04488), section 3.3."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from segbench.copying import upload
from segbench.models.bases.pyramid import STRIDE
from segbench.models.layers.backbones import pad_to_multiple
from segbench.models.layers.selection import indices
from segbench.models.losses.segments import Segments


class Cells(NamedTuple):
    """Assignment of objects (indices into `Segments`) to the cells of all grids, concatenated.

    A cell is hit by each object whose centre is near it.
    """

    owner: Tensor
    """B x cells: the last object that hits a cell, or -1."""
    image: Tensor
    """Index of the image of each hit."""
    cell: Tensor
    """Index of the cell of each hit."""
    object: Tensor
    """Index of the object of each hit."""

    def labels(self, truth: Segments, background: int) -> Tensor:
        """Return the class of each cell's owner, or `background`: B x cells."""
        return F.pad(truth.labels, (0, 1), value=background)[self.owner]


def centres(masks: Tensor) -> Tensor:
    """Compute the centre of mass (x, y) of each mask: N x H x W bool -> N x 2."""
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
    """Assign objects to the cells of grids.

    An object hits a grid if the geometric mean of its width and height is in the grid's range. It hits the
    cells that touch the central region: a box around its centre of mass, `centre_size` times as large as its
    own box. It hits at most 3 x 3 cells.

    Args:
        truth: true segments.
        boxes: N x 4 boxes of the objects.
        size: height and width of the images with their padding.
        grids: number of cells along a side of each grid.
        ranges: minimum and maximum size of the objects of each grid, in pixels.
        centre_size: size of the central region, as a share of the box.
    """
    extent = boxes[:, 2:] - boxes[:, :2]
    side = extent.prod(1).sqrt()
    centre, half = centres(truth.masks), extent * (0.5 * centre_size)
    whole = upload([size[1], size[0]], centre.device, centre.dtype)
    near = torch.arange(-1, 2, device=boxes.device)[:, None]
    hits, cells, start = [], [], 0
    for grid, (least, most) in zip(grids, ranges):
        # as in the authors' code; other divisions round centres on the edge of a cell differently
        middle, first, last = (
            torch.div(place / whole, 1 / grid, rounding_mode="trunc").long()
            for place in (centre, centre - half, centre + half)
        )
        block = middle[:, None] + near  # N x 3 x (x, y)
        inside = (block >= first[:, None].clamp(min=0)) & (block <= last[:, None].clamp(max=grid - 1))
        in_range = (side >= least) & (side <= most)
        hits.append(inside[:, :, None, 1] & inside[:, None, :, 0] & in_range[:, None, None])
        cells.append(start + block[:, :, None, 1] * grid + block[:, None, :, 0])
        start += grid**2
    (hit,) = indices([torch.cat(hits).flatten()])
    object_, cell = hit // near.numel() ** 2 % max(1, len(boxes)), torch.cat(cells).flatten()[hit]
    image = truth.image[object_]
    owner = object_.new_full((len(truth.counts) * start,), -1)
    owner.scatter_reduce_(0, image * start + cell, object_, "amax")
    return Cells(owner.view(-1, start), image, cell, object_)


def reduced(masks: Tensor, stride: int) -> Tensor:
    """Pad N x H x W masks and downsample them bilinearly by `stride`; N x h x w bool."""
    masks = pad_to_multiple(masks[:, None].float(), STRIDE)
    size = (masks.shape[2] // stride, masks.shape[3] // stride)
    return F.interpolate(masks, size, mode="bilinear", align_corners=False)[:, 0] >= 0.5


def with_coordinates(features: Tensor) -> Tensor:
    """Append two channels, x and y from -1 (first column or row) to 1 (last; CoordConv, Liu et al. 2018)."""
    batch, _, height, width = features.shape
    y = torch.linspace(-1, 1, height, device=features.device, dtype=features.dtype)
    x = torch.linspace(-1, 1, width, device=features.device, dtype=features.dtype)
    return torch.cat(
        [features, x.expand(batch, 1, height, width), y[:, None].expand(batch, 1, height, width)], 1
    )
