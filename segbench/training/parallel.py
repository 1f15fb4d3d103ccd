"""Communication between the processes of one data-parallel training, one process for each device.

Every process has the same weights and a part of each batch. Gradients are averaged in the last backward pass
of a step (torch's DistributedDataParallel; Li et al. 2020, https://arxiv.org/abs/2006.15704). With a single
process, these functions return their arguments unchanged.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.parallel import DistributedDataParallel

from segbench.contract.prediction import Target
from segbench.errors import SegbenchError
from segbench.models.network import Network

log = logging.getLogger(__name__)
HOST = "127.0.0.1"


def rank() -> int:
    """Return the number of this process, from 0. Process 0 writes the files."""
    return dist.get_rank() if dist.is_initialized() else 0


def size() -> int:
    """Return the number of processes."""
    return dist.get_world_size() if dist.is_initialized() else 1


def summed(values: Tensor) -> Tensor:
    """Sum a tensor over all processes, in place; every process gets the sum."""
    if dist.is_initialized():
        dist.all_reduce(values)
    return values


def any_of(*flags: bool) -> list[bool]:
    """Return for each flag whether any process set it; every process gets the same answer."""
    if not dist.is_initialized():
        return list(flags)
    return summed(torch.tensor(flags, dtype=torch.int32)).bool().tolist()


def gathered(value: Any) -> list[Any]:
    """Return the values of all processes by rank in process 0, and an empty list in the others."""
    if not dist.is_initialized():
        return [value]
    values: list[Any] = [None] * size() if rank() == 0 else []
    dist.gather_object(value, values or None)
    return values


def from_first(value: Any) -> Any:
    """Return the value of process 0 in all processes."""
    values = [value]
    if dist.is_initialized():
        dist.broadcast_object_list(values)
    return values[0]


def barrier() -> None:
    """Wait for all processes."""
    any_of(False)


def synchronised(network: Network, device: torch.device) -> Network:
    """Return a network whose batch norms compute their statistics over all processes.

    Raises:
        SegbenchError: there are several processes, and they compute on processors.
    """
    if size() == 1:
        return network
    if device.type != "cuda":
        raise SegbenchError(
            "torch synchronises batch norms on GPUs only",
            where="sync_batch_norm",
            remedy="set sync_batch_norm: false, gpus: 1, or train on GPUs",
        )
    # timm's also converts norms that apply their activation; its import takes a second
    from timm.layers import convert_sync_batchnorm

    return convert_sync_batchnorm(network)


def losses_in_step(network: Network) -> Callable[[Tensor, list[Target]], dict[str, Tensor]]:
    """Return `network.losses`, made to average the gradients over the processes in the backward pass."""
    if not dist.is_initialized():
        return network.losses
    module = _Losses(network)
    # buffers are not copied from process 0, see `average_statistics`; the argument for it changed its name
    DistributedDataParallel._set_params_and_buffers_to_ignore_for_model(
        module, [name for name, _ in module.named_buffers()]
    )
    return DistributedDataParallel(
        module,
        gradient_as_bucket_view=True,
        find_unused_parameters=not network.uses_all_parameters,
    )


def without_exchange(compute: Callable[..., Any]) -> AbstractContextManager[None]:
    """Return a context in which the losses of `losses_in_step` do not average gradients over the processes.

    The first average outside of it includes the gradients of the context.
    """
    return compute.no_sync() if isinstance(compute, DistributedDataParallel) else nullcontext()


@torch.no_grad()
def average_statistics(network: Network) -> None:
    """Average the running statistics of batch norms over the processes, so that all have the same ones."""
    norms = [
        m
        for m in network.modules()
        if isinstance(m, _BatchNorm) and m.training and not isinstance(m, nn.SyncBatchNorm)
    ]
    own = [value for m in norms for value in (m.running_mean, m.running_var) if value is not None]
    if size() == 1 or not own:
        return
    mean = summed(torch.cat(own)) / size()
    for value, averaged in zip(own, mean.split([len(value) for value in own])):
        value.copy_(averaged)


class _Losses(nn.Module):
    """Wrap `losses` as `forward`, the only method that DistributedDataParallel supports."""

    def __init__(self, network: Network) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: Tensor, targets: list[Target]) -> dict[str, Tensor]:
        return self.network.losses(images, targets)
