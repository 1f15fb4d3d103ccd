"""SOLO: Wang et al. 2020, "SOLO: Segmenting Objects by Locations" (1912.04488)."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from segbench.contract.view import View
from segbench.models.layers.heads import initialise
from segbench.models.layers.selection import indices
from segbench.models.losses.masks import squared_dice
from segbench.models.losses.segments import Segments
from segbench.models.solo.grid import Cells, reduced, with_coordinates
from segbench.models.solo.network import GridNetwork, expect_background, tower


class SOLO(GridNetwork):
    """Each level has one mask channel for every cell of its grid.

    Args:
        view: task and classes to predict.
        in_channels: channels of the images.
        head_channels: see `GridNetwork`.
        options: arguments of `GridNetwork`.
    """

    def __init__(self, view: View, in_channels: int, *, head_channels: int = 256, **options: Any) -> None:
        super().__init__(view, in_channels, head_channels=head_channels, **options)
        self.masks = tower(self.fpn_channels + 2, head_channels, len(self.categories))
        self.mask = nn.ModuleList(nn.Conv2d(head_channels, grid**2, 1) for grid in self.grids)
        initialise(self.masks)
        initialise(self.mask)
        expect_background(*self.mask)

    def decode(self, features: list[Tensor]) -> tuple[list[Tensor], list[Tensor]]:
        """Predict classes and masks; masks are B x grid² x h x w logits at half the stride of each level."""
        features = self.resized(features)
        masks = []
        for feature, layer in zip(features, self.mask):
            feature = self.masks(with_coordinates(feature))
            feature = F.interpolate(feature, scale_factor=2, mode="bilinear", align_corners=False)
            masks.append(layer(feature))
        return self.classify(self.on_grids(features)), masks

    def dice(self, masks: list[Tensor], truth: Segments, cells: Cells) -> Tensor:
        """Compare the mask of each cell with its owner, even if several objects hit the cell."""
        owners = [owner.flatten() for owner in cells.owner.split([grid**2 for grid in self.grids], 1)]
        hit = indices([owner >= 0 for owner in owners])
        losses = []
        for stride, logits, owner, here in zip(self.strides, masks, owners, hit):
            target = reduced(truth.masks, stride // 2)[owner[here]]
            losses.append(squared_dice(logits.flatten(0, 1)[here].flatten(1), target.flatten(1)))
        return torch.cat(losses)

    def probabilities(self, masks: list[Tensor], image: int, cell: Tensor) -> Tensor:
        level, place = self.level(cell)
        here = indices([level == i for i in range(len(masks))])
        chosen = [m[image, place[index]].float().sigmoid() for m, index in zip(masks, here)]
        size = masks[0].shape[-2:]  # the finest has `MASK_STRIDE`
        return torch.cat(
            [F.interpolate(c[None], size, mode="bilinear", align_corners=False)[0] for c in chosen if len(c)]
            or [masks[0].new_zeros(0, *size).float()]
        )
