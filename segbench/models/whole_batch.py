"""Losses of a part of a batch, which add up to the losses of the whole batch.

A batch may be divided over GPUs and over forward passes (`accumulate`). A mean over objects or pixels must
then divide by their number in the whole batch, as detectron2 and Mask2Former do over GPUs, and an image must
draw the same random numbers in any part. The training says of each part what it is a part of
(`Part.active`); a batch without such a context is whole.

The training weights the losses of a part by its share of the images. Means over images thus need nothing from
this module.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field

import torch
import torch.distributed as dist
from torch import Tensor

from segbench.copying import upload

Known = list[Tensor]
"""What all parts of a step have counted, in the order of the calls of `total` and `gathered`."""


@dataclass
class Part:
    """A part of a batch."""

    share: float
    """Number of its images, as a share of the whole batch."""
    seeds: Sequence[int]
    """Seed of the random numbers of each image."""
    known: Known | None = None
    """What the parts have counted before; None: each of the processes has one part, and they count now."""
    counts: list[tuple[Tensor, bool]] | None = None
    """Where to keep what this part counts, in a pass that counts only: values, and whether to join them."""
    _position: int = 0
    _generators: dict[int, torch.Generator] = field(default_factory=dict)

    @contextmanager
    def active(self) -> Iterator[None]:
        """Return a context in which losses are computed for this part."""
        token = _ACTIVE.set(self)
        try:
            yield
        finally:
            _ACTIVE.reset(token)

    def generator(self, image: int, device: torch.device) -> torch.Generator:
        """Return the generator of an image of this part."""
        if image not in self._generators:
            self._generators[image] = torch.Generator(device).manual_seed(self.seeds[image])
        return self._generators[image]

    def whole(self, value: Tensor, joined: bool) -> Tensor:
        """Return the sum over all parts, or their concatenation (`joined`)."""
        if self.counts is not None:
            self.counts.append((value, joined))
            return value
        if self.known is None:
            return across_processes(value, joined)
        self._position += 1
        return self.known[self._position - 1]


_ACTIVE: ContextVar[Part | None] = ContextVar("part of a batch", default=None)


def total(value: Tensor) -> Tensor:
    """Return the sum of a tensor over all parts of the batch.

    Every part must call this in the same order, whatever its images show. The gradient with respect to the
    tensor of this part is divided by the part's share, by which the training multiplies its losses.
    """
    part = _ACTIVE.get()
    if part is None:
        return value
    whole = part.whole(value.detach().double(), joined=False)
    whole = whole.to(value.dtype if value.is_floating_point() else torch.float32)
    return whole + (value - value.detach()) / part.share if value.requires_grad else whole


def gathered(values: Tensor) -> Tensor:
    """Return the values (N) of all parts of the batch, without gradients."""
    part = _ACTIVE.get()
    return values.detach() if part is None else part.whole(values.detach(), joined=True)


def divided(value: Tensor, count: Tensor) -> Tensor:
    """Divide a sum over the objects or pixels of this part by `count`, their number in the whole batch."""
    part = _ACTIVE.get()
    return value / (count if part is None else count * part.share)


def part_of_mean(mean: Tensor, count: int) -> Tensor:
    """Convert a mean over `count` objects of this part to its part of the mean over the whole batch."""
    if _ACTIVE.get() is None:
        return mean
    return divided(mean * count, total(upload(count, mean.device)).clamp(min=1))


def only_counts() -> bool:
    """Return whether nothing but the calls of `total` and `gathered` matters.

    Losses that have made all of these calls can then return an empty dict, without computing the network.
    """
    part = _ACTIVE.get()
    return part is not None and part.counts is not None


def generator(image: int, device: torch.device) -> torch.Generator | None:
    """Return the generator for the draws of an image; None: torch's global one."""
    part = _ACTIVE.get()
    return None if part is None else part.generator(image, device)


def uniform(counts: Sequence[int], *shape: int, device: torch.device) -> Tensor:
    """Draw numbers from 0 to 1: `counts[i]` rows of a shape for image i -> sum(counts) x shape."""
    if _ACTIVE.get() is None:
        return torch.rand(sum(counts), *shape, device=device)
    rows = [
        torch.rand(n, *shape, device=device, generator=generator(i, device)) for i, n in enumerate(counts)
    ]
    return torch.cat(rows)


def across_processes(value: Tensor, joined: bool) -> Tensor:
    """Sum a tensor over all processes, or concatenate (`joined`) one-dimensional ones of any lengths."""
    if not dist.is_initialized():
        return value
    if not joined:
        value = value.clone()
        dist.all_reduce(value)
        return value
    lengths = [torch.zeros((), dtype=torch.int64, device=value.device) for _ in range(dist.get_world_size())]
    dist.all_gather(lengths, torch.tensor(len(value), device=value.device))
    longest = int(torch.stack(lengths).amax())
    padded = torch.cat([value, value.new_zeros(longest - len(value))])
    parts = [torch.empty_like(padded) for _ in lengths]
    dist.all_gather(parts, padded)
    return torch.cat([part[: int(length)] for part, length in zip(parts, lengths)])


def merged(counts: list[list[tuple[Tensor, bool]]]) -> Known:
    """Merge the `counts` of all parts, those of other processes included."""
    known = []
    for column in zip(*counts, strict=True):
        values, (joined, *_) = zip(*column)
        own = torch.cat(values) if joined else torch.stack(values).sum(0)
        known.append(across_processes(own, joined))
    return known
