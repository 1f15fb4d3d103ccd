"""Outputs in float32 under autocast."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn


def keep_float(*heads: nn.Module) -> None:
    """Make the heads return float32 under autocast.

    torchvision decodes boxes in the precision of their offsets, and bf16's 8 bits are too few for pixels.
    """
    for head in heads:
        head.register_forward_hook(_as_float)


def _as_float(module: nn.Module, inputs: Any, outputs: Any) -> Any:
    """Forward hook: tensors, and those in tuples, lists and dicts, in float32."""
    if isinstance(outputs, Tensor):
        return outputs.float()
    if isinstance(outputs, dict):
        return {k: v.float() for k, v in outputs.items()}
    return type(outputs)(_as_float(module, inputs, o) for o in outputs)
