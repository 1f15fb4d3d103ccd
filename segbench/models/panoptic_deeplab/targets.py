"""Make the training targets of the three heads from true segments (paper, sections 3.1 and 3.2)."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from segbench.contract.prediction import IGNORE
from segbench.copying import upload
from segbench.models.layers.selection import indices
from segbench.models.losses.segments import Segments


class Targets(NamedTuple):
    """Targets of the three heads."""

    semantic: Tensor
    """B x H x W class indices, `IGNORE` on void."""
    small: Tensor
    """B x H x W bool: pixels of small objects."""
    centre: Tensor
    """B x H x W: maximum of the Gaussians around the objects' centres, 1 at a centre."""
    offset: Tensor
    """B x 2 x H x W: (y, x) from each pixel of an object to its centre, in pixels."""
    thing: Tensor
    """B x H x W bool: pixels that have an offset."""


def targets_of(segments: Segments, things: tuple[int, ...], sigma: float, small_area: int) -> Targets:
    """Make the targets of a batch.

    Args:
        segments: true segments.
        things: class indices of things.
        sigma: standard deviation of the Gaussians around centres, in pixels.
        small_area: area in pixels below which an object is small.
    """
    masks, device = segments.masks, segments.masks.device
    semantic = torch.full_like(segments.valid, IGNORE, dtype=torch.int64)
    small, thing = torch.zeros_like(segments.valid), torch.zeros_like(segments.valid)
    centre = torch.zeros(segments.valid.shape, device=device)
    offset = centre[:, None].repeat(1, 2, 1, 1)
    y, x = (torch.arange(n, dtype=torch.float32, device=device) for n in masks.shape[1:])
    area = masks.sum((1, 2))
    middle_y = (masks.sum(2) * y).sum(1) / area.clamp(min=1)
    middle_x = (masks.sum(1) * x).sum(1) / area.clamp(min=1)

    is_thing = torch.isin(segments.labels, upload(things, device)) & (area > 0)
    (of_things,) = indices([is_thing])
    peaks = _bumps(y, middle_y[of_things], sigma)[:, :, None] * _bumps(x, middle_x[of_things], sigma)[:, None]
    image = segments.image[of_things][:, None, None].expand_as(peaks)
    centre.scatter_reduce_(0, image, peaks, "amax")

    of, row, column = (masks & segments.valid[segments.image]).nonzero(as_tuple=True)
    place = segments.image[of], row, column
    semantic[place] = segments.labels[of]
    thing[place] = is_thing[of]
    small[place] = (is_thing & (area < small_area))[of]
    offset[segments.image[of], 0, row, column] = (middle_y[of] - row) * is_thing[of]
    offset[segments.image[of], 1, row, column] = (middle_x[of] - column) * is_thing[of]
    return Targets(semantic, small, centre, offset, thing)


def _bumps(positions: Tensor, middles: Tensor, sigma: float) -> Tensor:
    """Compute 1-D Gaussians around whole pixels, 0 beyond three sigmas and a pixel: N x positions."""
    distance = positions - middles.floor()[:, None]
    return torch.exp(-(distance**2) / (2 * sigma**2)) * (distance.abs() <= 3 * sigma + 1)
