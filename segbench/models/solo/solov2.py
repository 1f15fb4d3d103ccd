"""SOLOv2: Wang et al. 2020, "SOLOv2: Dynamic and Fast Instance Segmentation" (2003.10152)."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from segbench.contract.view import View
from segbench.models.layers.heads import initialise, rows
from segbench.models.layers.selection import indices
from segbench.models.losses.masks import squared_dice
from segbench.models.losses.segments import Segments
from segbench.models.solo.grid import Cells, reduced, with_coordinates
from segbench.models.solo.network import MASK_STRIDE, GridNetwork, conv, tower


class DynamicMasks(NamedTuple):
    """Masks of all cells: the mask of a cell is its kernel times the features."""

    kernels: list[Tensor]
    """B x E x grid x grid of each level."""
    features: Tensor
    """B x E x h x w."""


class MaskFeatures(nn.Module):
    """Compute the mask features, B x outputs x H / 4 x W / 4 (paper, section 3.2 and figure 3).

    Each level is upsampled to stride 4, by two after each convolution, and all levels are added. The coarsest
    level also gets coordinates.

    Args:
        inputs: channels of the levels.
        channels: channels of the convolutions.
        outputs: channels of the mask features.
        levels: number of levels, from stride 4 on.
    """

    def __init__(self, inputs: int, channels: int, outputs: int, levels: int = 4) -> None:
        super().__init__()
        self.levels = nn.ModuleList([nn.Sequential(conv(inputs, channels))])
        for i in range(1, levels):
            layers: list[nn.Module] = []
            for k in range(i):
                width = channels if k else inputs + (2 if i == levels - 1 else 0)
                layers.append(conv(width, channels))
                layers.append(nn.Upsample(scale_factor=2, mode="bilinear", align_corners=False))
            self.levels.append(nn.Sequential(*layers))
        self.merge = conv(channels, outputs, 1)

    def forward(self, features: list[Tensor]) -> Tensor:
        *finer, coarsest = features
        features = [*finer, with_coordinates(coarsest)]
        return self.merge(sum(level(f) for level, f in zip(self.levels, features)))


class SOLOv2(GridNetwork):
    """Each cell predicts a 1x1 convolution; applied to features of the whole image, it gives the mask.

    Args:
        view: task and classes to predict.
        in_channels: channels of the images.
        head_channels: see `GridNetwork`.
        convolutions: see `GridNetwork`.
        mask_channels: channels inside the branch of the mask features.
        kernel_channels: channels of the mask features, and so of each kernel.
        options: arguments of `GridNetwork`.
    """

    def __init__(
        self,
        view: View,
        in_channels: int,
        *,
        head_channels: int = 512,
        convolutions: int = 4,
        mask_channels: int = 128,
        kernel_channels: int = 256,
        **options: Any,
    ) -> None:
        super().__init__(
            view,
            in_channels,
            head_channels=head_channels,
            convolutions=convolutions,
            **options,
        )
        self.kernels = tower(self.fpn_channels + 2, head_channels, convolutions)
        self.kernel = nn.Conv2d(head_channels, kernel_channels, 3, padding=1)
        self.mask_features = MaskFeatures(self.fpn_channels, mask_channels, kernel_channels)
        for module in (self.kernels, self.kernel, self.mask_features):
            initialise(module)

    def decode(self, features: list[Tensor]) -> tuple[list[Tensor], DynamicMasks]:
        masks = self.mask_features(features[:4])
        cells = self.on_grids([with_coordinates(f) for f in self.resized(features)])
        kernels = [self.kernel(self.kernels(c)) for c in cells]
        categories = self.classify([c[:, :-2] for c in cells])
        return categories, DynamicMasks(kernels, masks)

    def dice(self, masks: DynamicMasks, truth: Segments, cells: Cells) -> Tensor:
        """Compare the mask of each cell with every object that hits the cell."""
        target = reduced(truth.masks, MASK_STRIDE)
        # a level without objects would backpropagate zeros through all its convolutions
        level, levels = self.level(cells.cell)[0], len(masks.kernels)
        found = indices(
            [level == i for i in range(levels)] + [cells.image == i for i in range(len(truth.counts))]
        )
        hit = {i for i, cells_of_level in enumerate(found[:levels]) if len(cells_of_level)} or {0}
        kernels = rows([k if i in hit else k.detach() for i, k in enumerate(masks.kernels)])
        losses = []
        for image, here in enumerate(found[levels:]):
            logits = kernels[image, cells.cell[here]] @ masks.features[image].flatten(1)
            losses.append(squared_dice(logits, target[cells.object[here]].flatten(1)))
        return torch.cat(losses)

    def probabilities(self, masks: DynamicMasks, image: int, cell: Tensor) -> Tensor:
        kernels = rows([k[image : image + 1] for k in masks.kernels])[0, cell]
        logits = (kernels @ masks.features[image].flatten(1)).float()
        return logits.sigmoid().unflatten(1, masks.features.shape[-2:])
