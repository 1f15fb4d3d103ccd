"""The smallest number of parts of a batch that fits into memory."""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator
from typing import TypeVar

import torch

from segbench.errors import OutOfMemory

T = TypeVar("T")


def smallest_that_fits(attempt: Callable[[int], T], batch: int, first: int) -> tuple[int, T]:
    """Try numbers of parts until one fits.

    Args:
        attempt: runs with a number of parts; raises `OutOfMemory` if it does not fit.
        batch: images of the batch.
        first: number of parts to start with.

    Returns:
        The smallest number that fits, from `first` on, and what the attempt returned.

    Raises:
        OutOfMemory: not even single images fit.
    """
    for parts in numbers_of_parts(batch, first):
        try:
            return parts, attempt(parts)
        except OutOfMemory as error:
            what = error.what
        # outside of the handler, whose traceback holds the tensors
        gc.collect()
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
    raise OutOfMemory(
        f"{what}, with a single image in a forward pass",
        where="probe",
        remedy="use a smaller crop, or a device with more memory",
    )


def numbers_of_parts(batch: int, first: int) -> Iterator[int]:
    """Yield `first`, then every larger number of parts whose largest part is smaller than before."""
    largest = batch + 1
    for parts in range(first, batch + 1):
        if (size := -(-batch // parts)) < largest:
            largest = size
            yield parts
