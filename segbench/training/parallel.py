"""Processes that train in step (data parallel), a device each: what they exchange.

Every process has the same weights and its part of each batch; gradients are averaged after every backward
pass (torch's DistributedDataParallel; Li et al. 2020, https://arxiv.org/abs/2006.15704). With one process,
these functions return what they are given.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from segbench.contract.prediction import Target
from segbench.models.network import Network

log = logging.getLogger(__name__)
HOST = "127.0.0.1"


def rank() -> int:
    """Number of this process, from 0; the first one writes the files."""
    return dist.get_rank() if dist.is_initialized() else 0


def size() -> int:
    return dist.get_world_size() if dist.is_initialized() else 1


def summed(values: Tensor) -> Tensor:
    """The sum over all processes, in each."""
    if dist.is_initialized():
        dist.all_reduce(values)
    return values


def any_of(*flags: bool) -> list[bool]:
    """Of each flag, whether any process set it; the same answer in all."""
    if not dist.is_initialized():
        return list(flags)
    return summed(torch.tensor(flags, dtype=torch.int32)).bool().tolist()


def gathered(value: Any) -> list[Any]:
    """The values of all processes, by rank, in the first process; nothing in the others."""
    if not dist.is_initialized():
        return [value]
    values: list[Any] = [None] * size() if rank() == 0 else []
    dist.gather_object(value, values or None)
    return values


def barrier() -> None:
    """Wait for all processes."""
    any_of(False)


def losses_in_step(network: Network) -> Callable[[Tensor, list[Target]], dict[str, Tensor]]:
    """`network.losses`, after whose backward pass the gradients are averages over the processes."""
    if not dist.is_initialized():
        return network.losses
    # unused parameters: of parts that only some images call for
    return DistributedDataParallel(_Losses(network), find_unused_parameters=True)


class _Losses(nn.Module):
    """`losses` as `forward`, which DistributedDataParallel wraps."""

    def __init__(self, network: Network) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: Tensor, targets: list[Target]) -> dict[str, Tensor]:
        return self.network.losses(images, targets)
