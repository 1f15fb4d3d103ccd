"""Groups of parameters that networks exclude from weight decay."""

from __future__ import annotations

from typing import Any

from torch import nn
from torch.nn.modules.batchnorm import _NormBase

NORMS = (_NormBase, nn.GroupNorm, nn.LayerNorm, nn.LocalResponseNorm, nn.RMSNorm)
"""Normalisation layers: detectron2's list, and RMSNorm."""


def vectors(network: nn.Module) -> set[str]:
    """Name the parameters of at most one dimension: biases, scales and shifts of norms, layer scales."""
    return {name for name, parameter in network.named_parameters() if parameter.ndim <= 1}


def norm_parameters(network: nn.Module) -> set[str]:
    """Name the scales and shifts of normalisation layers, but no other biases, as in detectron2."""
    return {
        f"{layer}.{name}" if layer else name
        for layer, module in network.named_modules()
        if isinstance(module, NORMS)
        for name, _ in module.named_parameters(recurse=False)
    }


def backbone_tables(network: nn.Module) -> set[str]:
    """Name the parameters that the timm backbone excludes, such as Swin's relative position tables.

    The attribute `backbone` may hold several backbones.
    """
    names: set[str] = set()
    for path, module in network.named_modules():
        model: Any = getattr(getattr(module, "net", None), "model", None)
        if path.partition(".")[0] == "backbone" and hasattr(model, "no_weight_decay"):
            names |= {f"{path}.net.model.{name}" for name in model.no_weight_decay()}
    return names & {name for name, _ in network.named_parameters()}
