"""Weights from one definition of a network to another, and weights that anyone can write down again."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn


def load_in_order(ours: nn.Module, theirs: list[nn.Module]) -> None:
    """The same tensors in the same order under other names."""
    values = [value for module in theirs for value in module.state_dict().values()]
    names = ours.state_dict()
    assert len(names) == len(values)
    ours.load_state_dict(dict(zip(names, values)))


@torch.no_grad()
def fill(modules: list[nn.Module]) -> None:
    """Convolution k gets normal numbers of NumPy's frozen generator with seed k; no biases, plain norms."""
    layers = [m for module in modules for m in module.modules()]
    convolutions = [m for m in layers if isinstance(m, (nn.Conv2d, nn.ConvTranspose2d))]
    for k, conv in enumerate(convolutions):
        numbers = np.random.RandomState(k).standard_normal(conv.weight.shape)
        conv.weight.copy_(torch.from_numpy(numbers) / conv.weight[0].numel() ** 0.5)
        if conv.bias is not None:
            conv.bias.zero_()
    for norm in (m for m in layers if isinstance(m, nn.BatchNorm2d)):
        norm.reset_parameters()


def waves(height: int, width: int) -> Tensor:
    """One image of three waves, 1 x 3 x height x width."""
    y = torch.arange(height, dtype=torch.float64)[:, None]
    x = torch.arange(width, dtype=torch.float64)
    return torch.stack([torch.sin(0.3 * y + 0.2 * x + channel) for channel in range(3)])[None].float()
