"""The gradient of a batch, computed in parts.

A batch has a part for each process and each forward pass (`accumulate`). The gradients of all parts add up
to that of the whole batch, except for the statistics of batch normalisation and the draws of dropout.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext

import numpy as np
import torch
from torch import Tensor

from segbench.contract.prediction import Target
from segbench.data.loading.loader import Batch, derived_seed
from segbench.models.network import Network
from segbench.models.whole_batch import Known, Part, merged
from segbench.training import parallel
from segbench.training.randomness import random_state, set_random_state

Compute = Callable[[Tensor, list[Target]], dict[str, Tensor]]


def parts_of_step(batch_size: int, accumulate: int, seed: int) -> list[Part]:
    """Return the parts of a batch that this process computes, as `MicroBatches` divides it.

    Args:
        batch_size: images of the batch, over all processes.
        accumulate: parts of each process.
        seed: seed of the step; each image gets its own from it, by its place in the batch.
    """
    places = np.array_split(np.arange(batch_size), accumulate * parallel.size())
    return [
        Part(len(own) / batch_size, [derived_seed(seed, int(place)) for place in own])
        for own in places[parallel.rank() :: parallel.size()]
    ]


def add_gradients(
    network: Network,
    compute: Compute,
    batches: Sequence[Batch],
    parts: Sequence[Part],
    count: Compute,
    alone: Callable[[], AbstractContextManager[None]] = nullcontext,
    scale: Callable[[Tensor], Tensor] = lambda loss: loss,
) -> dict[str, Tensor]:
    """Add the gradients of all parts of a batch to those of the network.

    With several parts in a process, what their losses divide by is counted before, without gradients. Some
    networks must predict for this: those whose losses depend on what they propose, and Dice.

    Args:
        network: the network.
        compute: returns the losses of a part, and averages the gradients over the processes.
        batches: images and targets of each part of this process.
        parts: what each of them is a part of, see `parts_of_step`.
        count: as `compute`, without communication between processes.
        alone: context in which `compute` does not average gradients: they are exchanged with those of the
            last part.
        scale: multiplies what is differentiated, see `Precision.scaler`.

    Returns:
        The losses of the parts of this process, without gradients; summed over the processes, they are those
        of the whole batch.
    """
    known = _counted(network, count, batches, parts) if len(parts) > 1 else None
    sums: dict[str, Tensor] = {}
    for k, ((images, targets), part) in enumerate(zip(batches, parts, strict=True), 1):
        part = Part(part.share, part.seeds, known)
        with nullcontext() if k == len(parts) else alone():
            with part.active():
                losses = compute(images, targets)
            # DistributedDataParallel averages gradients over the processes; the whole batch needs their sum
            weight = part.share * parallel.size()
            total = torch.stack([loss.float() for loss in losses.values()]).sum() * weight
            scale(total).backward()
        for name, loss in losses.items():
            own = loss.detach() * part.share
            sums[name] = sums[name] + own if name in sums else own
    return sums


@torch.no_grad()
def _counted(network: Network, count: Compute, batches: Sequence[Batch], parts: Sequence[Part]) -> Known:
    """Count over all parts of all processes; neither statistics of the network nor random states change."""
    device = next(network.parameters()).device
    random, buffers = random_state(device), [buffer.clone() for buffer in network.buffers()]
    counts = []
    for (images, targets), part in zip(batches, parts, strict=True):
        part = Part(part.share, part.seeds, counts=[])
        with part.active():
            count(images, targets)
        if not part.counts:  # its losses are means over images
            break
        counts.append(part.counts)
    for buffer, before in zip(network.buffers(), buffers):
        buffer.copy_(before)
    set_random_state(random, device)
    return merged(counts)
