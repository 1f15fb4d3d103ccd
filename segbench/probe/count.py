"""Operations and memory of a network, counted on small images and scaled to any size."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

import torch
from torch.autograd.graph import saved_tensors_hooks
from torch.nn.modules.batchnorm import _BatchNorm
from torch.utils.flop_counter import FlopCounterMode

from segbench.importing import load_object
from segbench.jobs.cost.counted import FEW, Counted, Line
from segbench.jobs.cost.work import Network
from segbench.models.network import Network as Module
from segbench.probe import scene

SHAPES_ONLY, COMPUTED = (256, 512), (192, 384)
"""Sides of the images on which operations are counted: where shapes suffice, and where values are needed."""
MANY = 120
"""Number of classes with which they are counted once more."""
CHANNELS = 3
OBJECTS, OBJECT_SIZE = 2, 32
"""Number of objects of an image, and their side in pixels. They are few: on small images, many of the regions
that a detector draws would show one, and it would compute more masks than on large images."""


def convolution_backward(
    grad: Any, x: Any, w: Any, _bias: Any, _s: Any, _p: Any, _d: Any, transposed: bool, *rest: Any, **_: Any
) -> int:
    """Count the FLOPs of the gradients of a convolution: each costs as much as the convolution.

    torch's own formula takes grouped convolutions for full ones.
    """
    mask = rest[2]  # after output_padding and groups
    area = (x if transposed else grad)[2:].numel()
    return int(2 * x[0] * area * w.numel() * (bool(mask[0]) + bool(mask[1])))


class _Whole(nullcontext[None]):
    """Stands in for torch's tracker of modules, which fails on some networks: only their sum is needed."""

    parents = frozenset({"Global"})


@contextmanager
def counting() -> Iterator[FlopCounterMode]:
    """Count FLOPs (a multiply-add counts 2) of matrix products, attention and convolutions."""
    mapping = {torch.ops.aten.convolution_backward: convolution_backward}
    counter = FlopCounterMode(display=False, custom_mapping=mapping)
    counter.mod_tracker = _Whole()  # type: ignore[assignment]
    with counter:
        yield counter


def count(network: Network) -> Counted:
    """Count the operations and the kept memory of an image, as functions of its pixels and classes.

    The network has random weights. Images are noise with eight squares, in fp32. If possible, the network
    runs on the meta device, which computes shapes only. If its work depends on values, such as objects
    found, it runs on the processor, on smaller images.
    """
    try:
        with torch.device("meta"):
            return _count(network, *SHAPES_ONLY)
    except (RuntimeError, NotImplementedError):  # it needs values
        return _count(network, *COMPUTED)


def _count(network: Network, small: int, large: int) -> Counted:
    built = build(network, FEW)
    passes = [forward(built, side) for side in (small, large)]
    predicted = one_prediction(built, small)
    parameters = sum(p.numel() for p in built.parameters())
    del built
    gc.collect()
    wide = forward(build(network, MANY), small)
    flops, kept = (
        Line.through((small**2, passes[0][part]), (large**2, passes[1][part]), many=(MANY, wide[part]))
        for part in range(2)
    )
    return Counted(
        forward=flops, kept=kept, prediction=flops.moved(small**2, predicted), parameters=parameters
    )


def build(network: Network, classes: int) -> Module:
    """Build a network with random weights; half of the classes of a panoptic one are stuff."""
    torch.manual_seed(0)
    shown = scene.view(network.task, classes, classes // 2 if network.task == "panoptic" else classes)
    built: Module = load_object(network.class_path)(shown, CHANNELS, **network.options)
    return built


def forward(built: Module, side: int) -> tuple[float, float]:
    """Return the FLOPs of forward pass and losses of an image, and the bytes kept for the backward pass."""
    ours = {p.untyped_storage()._cdata for p in built.parameters()}
    kept: dict[int, torch.UntypedStorage] = {}

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        if storage._cdata not in ours:
            kept[storage._cdata] = storage
        return tensor

    images, targets = scene.batch(built.view, CHANNELS, (side, side), 1, OBJECTS, OBJECT_SIZE)
    built.train()
    for module in built.modules():
        if isinstance(module, _BatchNorm):  # in training it fails on one value, such as a pooled image
            module.eval()
    with counting() as counter, saved_tensors_hooks(keep, lambda tensor: tensor):
        built.losses(images, targets)
    return float(counter.get_total_flops()), float(sum(storage.nbytes() for storage in kept.values()))


def one_prediction(built: Module, side: int) -> float:
    """Return the FLOPs of the prediction of an image."""
    built.eval()
    with torch.inference_mode(), counting() as counter:
        built.predict(torch.randn(1, CHANNELS, side, side), [(side, side)])
    return float(counter.get_total_flops())
