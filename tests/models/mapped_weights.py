"""Copy weights between two definitions of a network, and make weights that can be reproduced anywhere."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn


def load_in_order(ours: nn.Module, theirs: list[nn.Module]) -> None:
    """Rename tensors that are in the same order in both definitions."""
    values = [value for module in theirs for value in module.state_dict().values()]
    names = ours.state_dict()
    assert len(names) == len(values)
    ours.load_state_dict(dict(zip(names, values)))


@torch.no_grad()
def fill(modules: list[nn.Module]) -> None:
    """Layer k gets normal numbers of NumPy's frozen generator with seed k; no biases, plain norms."""
    layers = [m for module in modules for m in module.modules()]
    weighted = [m for m in layers if isinstance(m, (nn.Conv2d, nn.ConvTranspose2d, nn.Linear))]
    for k, layer in enumerate(weighted):
        numbers = np.random.RandomState(k).standard_normal(layer.weight.shape)
        layer.weight.copy_(torch.from_numpy(numbers) / layer.weight[0].numel() ** 0.5)
        if layer.bias is not None:
            layer.bias.zero_()
    for norm in (m for m in layers if isinstance(m, nn.BatchNorm2d)):
        norm.reset_parameters()


def waves(height: int, width: int) -> Tensor:
    """Return one image of three waves, 1 x 3 x height x width."""
    y = torch.arange(height, dtype=torch.float64)[:, None]
    x = torch.arange(width, dtype=torch.float64)
    return torch.stack([torch.sin(0.3 * y + 0.2 * x + channel) for channel in range(3)])[None].float()
