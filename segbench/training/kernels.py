"""Settings of torch that choose among the kernels of a device. They hold for the whole process."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

import torch

from segbench.errors import SegbenchError

_WITHOUT = " does not have a deterministic implementation"
"""In torch's message, after the name of the operation."""


def choose_kernels(
    device: torch.device, *, training: bool, one_size: bool = False, deterministic: bool = False
) -> None:
    """Choose the kernels of a training or a prediction.

    On a processor, a training fixes the order of sums where torch can; operations without a deterministic
    form only warn. On GPUs, fp32 uses TF32: products of 10 bits, as torch's default for convolutions is.

    Args:
        device: device of this process.
        training: whether gradients are computed.
        one_size: whether all images have the same size. cuDNN then times its kernels on the first one, and
            keeps the fastest.
        deterministic: see `Recipe.deterministic`. An operation without a deterministic form is an error, see
            `deterministic_errors`.
    """
    fixed = deterministic or (training and device.type == "cpu")
    torch.use_deterministic_algorithms(fixed, warn_only=not deterministic)
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
    if device.type == "cuda":
        # sets the older and the newer flag: with the newer one alone, torch.compile of torch 2.10 fails
        torch.backends.cuda.matmul.allow_tf32 = True
        torch.backends.cudnn.benchmark = one_size and not deterministic  # the fastest one may vary
        torch.backends.cudnn.deterministic = deterministic
        if deterministic:  # cuBLAS reads this when it is first used
            os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")


@contextmanager
def varying_sizes() -> Iterator[None]:
    """Do not time cuDNN's kernels within the block, where each size of image would be timed anew."""
    before = torch.backends.cudnn.benchmark
    torch.backends.cudnn.benchmark = False
    try:
        yield
    finally:
        torch.backends.cudnn.benchmark = before


@contextmanager
def deterministic_errors(where: str) -> Iterator[None]:
    """Convert torch's error for an operation without a deterministic form."""
    try:
        yield
    except RuntimeError as error:
        operation, found, _ = str(error).partition(_WITHOUT)
        if not found:
            raise
        raise SegbenchError(
            f"torch has no deterministic form of {operation.split()[-1]} on this device",
            where=where,
            remedy="remove `deterministic` from the recipe, or choose another network",
        ) from error
