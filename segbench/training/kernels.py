"""Settings of torch that choose among the kernels of a device. They hold for the whole process."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch


def choose_kernels(device: torch.device, *, training: bool, one_size: bool = False) -> None:
    """Choose the kernels of a training or a prediction.

    On a processor, a training fixes the order of sums where torch can; operations without a deterministic
    form only warn. On GPUs, fp32 uses TF32: products of 10 bits, as torch's default for convolutions is.

    Args:
        device: device of this process.
        training: whether gradients are computed.
        one_size: whether all images have the same size. cuDNN then times its kernels on the first one, and
            keeps the fastest.
    """
    torch.use_deterministic_algorithms(training and device.type == "cpu", warn_only=True)
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
    if device.type == "cuda":
        # sets the older and the newer flag: with the newer one alone, torch.compile of torch 2.10 fails
        torch.backends.cuda.matmul.allow_tf32 = True
        torch.backends.cudnn.benchmark = one_size


@contextmanager
def varying_sizes() -> Iterator[None]:
    """Do not time cuDNN's kernels within the block, where each size of image would be timed anew."""
    before = torch.backends.cudnn.benchmark
    torch.backends.cudnn.benchmark = False
    try:
        yield
    finally:
        torch.backends.cudnn.benchmark = before
