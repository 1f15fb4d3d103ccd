"""Where the windows of a large image lie, what each of them decides, and how they are weighted."""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor

from segbench.contract.recipe import Inference

SIGMA = 1 / 8
"""Standard deviation of the gaussian weights, as a fraction of the window. As in nnU-Net."""


def input_size(size: tuple[int, int], inference: Inference, scale: float = 1.0) -> tuple[int, int]:
    """Return the (height, width) to which an image is resized.

    Args:
        size: height and width of the image.
        inference: `short_side` overrides `scale`, and `max_side` both.
        scale: one of `inference.scales`, a factor on the result.
    """
    factor = inference.short_side / min(size) if inference.short_side else inference.scale
    if inference.max_side:
        factor = min(factor, inference.max_side / max(size))
    return max(1, round(size[0] * factor * scale)), max(1, round(size[1] * factor * scale))


def window_spans(length: int, window: int, overlap: float) -> list[slice]:
    """Divide one axis into windows; the last one ends with the image and may overlap more.

    Args:
        length: length of the axis.
        window: length of a window; the whole axis if this is shorter.
        overlap: share of a window that the next one overlaps, 0 to 1.
    """
    window = min(window, length)
    stride = max(1, round(window * (1 - overlap)))
    return [slice(start, start + window) for start in [*range(0, length - window, stride), length - window]]


def owned_spans(spans: list[slice]) -> list[slice]:
    """Divide an axis among its windows: neighbours share their overlap half and half."""
    middles = [(after.start + before.stop) // 2 for before, after in pairwise(spans)]
    return [slice(a, b) for a, b in zip([spans[0].start, *middles], [*middles, spans[-1].stop])]


def window_weights(height: int, width: int, blend: str, device: torch.device) -> Tensor:
    """Return the H x W weights of a window's logits: 1, or a gaussian around the centre.

    The gaussian is that of nnU-Net (Isensee et al., Nature Methods 2021), which trusts the centre of a window
    more than its border: https://github.com/MIC-DKFZ/nnUNet, `compute_gaussian`.
    """
    if blend == "uniform":
        return torch.ones(height, width, device=device)
    rows, columns = (
        torch.exp(-(((torch.arange(n, device=device) - (n - 1) / 2) / (SIGMA * n)) ** 2) / 2)
        for n in (height, width)
    )
    return rows[:, None] * columns
