"""Losses of a network on the device and on the processor, in fp32, with equal weights and random draws."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn
from torch.nn.modules.dropout import _DropoutNd
from torch.overrides import TorchFunctionMode

from segbench.jobs.cost.work import Work
from segbench.models.network import Network
from segbench.probe import scene
from segbench.probe.count import CHANNELS, build
from segbench.training.kernels import choose_kernels
from segbench.training.precision import Precision

TOLERANCE = 1e-3
"""Largest relative difference of a loss."""
CLASSES, OBJECTS = 21, 8
SMALL = 0.01
"""A loss below this share of the total is compared with this share."""


class DrawsOfTheProcessor(TorchFunctionMode):
    """Random numbers for any device are drawn on the processor: each kind of device draws others."""

    MADE = (torch.rand, torch.randn, torch.randint, torch.randperm)
    LIKE = (torch.rand_like, torch.randn_like)
    FILLED = (torch.Tensor.bernoulli_, torch.Tensor.uniform_, torch.Tensor.normal_)

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        kwargs = dict(kwargs or {})
        if func in self.MADE:
            device = kwargs.pop("device", None)
            return func(*args, **kwargs).to(device or "cpu")
        if func in self.LIKE:
            like = torch.empty_like(args[0], device="cpu")
            return func(like, *args[1:], **kwargs).to(args[0].device)
        if func in self.FILLED:
            drawn = func(torch.empty_like(args[0], device="cpu"), *args[1:], **kwargs)
            return args[0].copy_(drawn)
        return func(*args, **kwargs)


def without_dropout(network: nn.Module) -> None:
    """Set the probabilities of dropout and stochastic depth to 0."""
    for module in network.modules():
        names = ["dropout", "drop_prob", "attention_dropout"] + ["p"] * isinstance(module, _DropoutNd)
        for name in names:
            if isinstance(getattr(module, name, None), float):
                setattr(module, name, 0.0)


def difference(found: Mapping[str, float], expected: Mapping[str, float]) -> float:
    """Return the largest relative difference of losses; infinite if one is not finite, or they are others."""
    if found.keys() != expected.keys() or not all(map(math.isfinite, [*found.values(), *expected.values()])):
        return math.inf
    least = SMALL * sum(map(abs, expected.values()))
    gaps = ((abs(found[name] - value), max(abs(value), least)) for name, value in expected.items())
    return max((gap / size if gap else 0.0 for gap, size in gaps), default=math.inf)


@contextmanager
def full_fp32(device: torch.device) -> Iterator[None]:
    """Multiply in fp32 within the block, without TF32."""
    before = torch.backends.cudnn.allow_tf32
    choose_kernels(device, training=True)
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
    try:
        yield
    finally:
        torch.backends.cudnn.allow_tf32 = before
        choose_kernels(device, training=True)


def losses(network: Network, device: torch.device, side: int, images: int) -> dict[str, float]:
    """Return the losses of noise with squares."""
    torch.manual_seed(0)
    batch, targets = scene.batch(network.view, CHANNELS, (side, side), images, OBJECTS, side // 8)
    precision = Precision(device, "fp32")
    network.to(device).train()
    with torch.no_grad(), DrawsOfTheProcessor():
        found = network.losses(precision.place(batch), [precision.place_target(t) for t in targets])
    return {name: float(loss) for name, loss in found.items()}


def check(name: str, work: Work, device: str, side: int, images: int) -> dict[str, Any]:
    """Compare the losses of the device with those of the processor.

    On the processor itself, the network's memory format differs (channels last), so that sums are rounded
    differently, but kernels are the same.

    Raises:
        RuntimeError: they differ by more than `TOLERANCE`.
    """
    where = torch.device(device)
    network = build(work.network, CLASSES)
    without_dropout(network)
    other = copy.deepcopy(network)
    if where.type == "cpu":
        other = other.to(memory_format=torch.channels_last)
    with full_fp32(where):
        expected = losses(network, torch.device("cpu"), side, images)
        found = losses(other, where, side, images)
    gap = difference(found, expected)
    if gap > TOLERANCE:
        raise RuntimeError(f"losses differ by {gap:.2g}: {found} on {device}, {expected} on the processor")
    return {"network": name, "task": work.network.task, "difference": gap, "losses": found}
