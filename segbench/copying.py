"""Copies between the host and the device of a network, with few waits of the host."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor


def upload(values: Any, device: torch.device, dtype: torch.dtype | None = None) -> Tensor:
    """Copy values to a device, without waiting for it.

    The copy starts from pinned memory. `torch.tensor` and `Tensor.to` would wait until the device has done
    all work before.

    Args:
        values: number, nested lists of numbers, array, or tensor on any device.
        device: device of the result.
        dtype: type of the result; None: that of the values.
    """
    tensor = torch.as_tensor(values, dtype=dtype)
    if device.type in ("cpu", "meta") or tensor.device.type != "cpu":
        return tensor.to(device)
    return (tensor if tensor.is_pinned() else tensor.pin_memory()).to(device, non_blocking=True)


def download(tensors: Iterable[Tensor]) -> list[Tensor]:
    """Return tensors on the host, which waits once for all of them; those of the host are not copied."""
    given = list(tensors)
    copies = [tensor.to("cpu", non_blocking=True) for tensor in given]
    for device in {tensor.device for tensor in given if tensor.device.type != "cpu"}:
        torch.get_device_module(device).synchronize(device)
    return copies
