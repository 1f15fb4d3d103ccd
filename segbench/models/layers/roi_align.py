"""RoIAlign (He et al. 2017, 1703.06870) over levels of a feature pyramid (Lin et al. 2017, 1612.03144)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F
from torchvision.ops import MultiScaleRoIAlign, roi_align
from torchvision.ops.poolers import initLevelMapper

from segbench.models.layers.selection import indices

SAMPLES = 2
"""Points in each cell of the grid, along each side."""


class PyramidAlign(MultiScaleRoIAlign):
    """Features of levels "0", "1", ... in boxes: all N boxes of a batch -> N x channels x size x size.

    Equal to torchvision's, whose levels' strides are known here (it guesses them from the first image that it
    sees, wrongly for small padded ones). On a CPU its gradients take most of a step, so there each cell is a
    weighted sum of rows in a table of all levels' pixels.
    """

    def __init__(self, size: int, reductions: Sequence[int]) -> None:
        super().__init__([str(i) for i in range(len(reductions))], size, SAMPLES)
        self.scales = [1 / r for r in reductions]
        self.map_levels = initLevelMapper(reductions[0].bit_length() - 1, reductions[-1].bit_length() - 1)

    def forward(
        self, x: dict[str, Tensor], boxes: list[Tensor], image_shapes: list[tuple[int, int]]
    ) -> Tensor:
        if boxes[0].device.type != "cpu":
            return self._by_level([x[name] for name in self.featmap_names], boxes)
        levels = [x[name] for name in self.featmap_names]
        table = torch.cat([level.float().movedim(1, -1).flatten(0, 2) for level in levels])
        rows, weights = self._cells(levels, boxes)
        cells = F.embedding_bag(
            rows.flatten(0, 2), table, mode="sum", per_sample_weights=weights.flatten(0, 2)
        )
        return cells.unflatten(0, rows.shape[:3]).movedim(-1, 1).to(levels[0].dtype)

    def _by_level(self, levels: list[Tensor], boxes: list[Tensor]) -> Tensor:
        """torchvision's kernel, level by level; the host waits once, to learn the number of boxes of each."""
        if len(levels) == 1:
            return roi_align(levels[0], boxes, self.output_size, self.scales[0], self.sampling_ratio)
        image = torch.cat([b.new_full((len(b), 1), i) for i, b in enumerate(boxes)])
        regions, level = torch.cat([image, torch.cat(boxes)], 1), self.map_levels(boxes)
        places = indices([level == number for number in range(len(levels))])
        found = [
            roi_align(features, regions[place], self.output_size, scale, self.sampling_ratio)
            for features, place, scale in zip(levels, places, self.scales)
        ]
        return torch.cat([f.to(levels[0].dtype) for f in found])[torch.cat(places).argsort()]

    @torch.no_grad()
    def _cells(self, levels: list[Tensor], boxes: list[Tensor]) -> tuple[Tensor, Tensor]:
        """Rows of the table and their weights: both N x size x size x samples."""
        together = torch.cat(boxes)
        image = torch.arange(len(boxes)).repeat_interleave(torch.tensor([len(b) for b in boxes]))
        level = self.map_levels(boxes) if len(levels) > 1 else torch.zeros_like(image)
        height, width = torch.tensor([f.shape[-2:] for f in levels])[level].unbind(1)
        pixels = torch.tensor([0] + [len(f) * f.shape[-2] * f.shape[-1] for f in levels]).cumsum(0)
        first = pixels[level] + image * height * width
        edges = together * torch.tensor(self.scales)[level, None]
        x, across = corners(edges[:, 0], edges[:, 2], width, self.output_size[1])
        y, down = corners(edges[:, 1], edges[:, 3], height, self.output_size[0])
        y = first[:, None, None] + y * width[:, None, None]
        rows = y[:, :, None, :, None] + x[:, None, :, None, :]
        weights = down[:, :, None, :, None] * across[:, None, :, None, :]
        return rows.flatten(3), weights.flatten(3)


def corners(start: Tensor, end: Tensor, length: Tensor, cells: int) -> tuple[Tensor, Tensor]:
    """The pixels along one axis that the points of each cell lie between, and how much of each: all N.

    start, end: of the boxes, in pixels of their level, which has `length` of them.
    Returns two of N x cells x (2 * SAMPLES). Boxes are at least a pixel wide; points outside weigh nothing.
    """
    cell = (end - start).clamp(min=1)[:, None, None] / cells
    step = (torch.arange(SAMPLES) + 0.5) * cell / SAMPLES
    points = (start[:, None, None] + torch.arange(cells)[:, None] * cell + step).flatten(1)
    length = length[:, None]
    inside = (points >= -1) & (points <= length)
    points = points.where(inside, 0)  # not a number, where the training diverges, is no index
    points = torch.minimum(points.clamp(min=0), (length - 1).to(points.dtype))
    low = points.long()
    high = torch.minimum(low + 1, length - 1)
    share = points - low
    weights = torch.stack([1 - share, share], 2) * inside[..., None] / SAMPLES
    shape = (len(start), cells, 2 * SAMPLES)
    return torch.stack([low, high], 2).view(shape), weights.view(shape)
