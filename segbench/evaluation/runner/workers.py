"""Process many images in several processes, in order and with bounded memory."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeVar

import numpy as np

from segbench.jobs.processes import in_order

T = TypeVar("T")
_CHUNK = 64
"""Number of images that a process takes at a time."""
_FEW = 4 * _CHUNK
"""Up to this number of images one process is faster, since others take time to start."""
_KEPT = 24 << 20
"""Bytes that malloc keeps. To get each array from the system again would take longer than to compute it."""


def available() -> int:
    """Return the number of processors that this process may use."""
    return len(os.sched_getaffinity(0))


def in_chunks(
    job: Callable[[Sequence[Any]], T], items: Sequence[Any], processes: int, *, chunk: int | None = None
) -> Iterator[T]:
    """Yield `job` of each chunk of `items`, in order.

    Items are images, or others that take longer: `chunk` is then the number that a process takes at a time.
    At most `processes` processes are forked, so `job` need not be picklable. With one process, or few items,
    it is called in this process.
    """
    np.empty(_KEPT, np.uint8)  # glibc keeps up to twice the largest block that it ever freed
    size = chunk or _CHUNK
    chunks = (items[i : i + size] for i in range(0, len(items), size))
    if processes <= 1 or len(items) <= (_FEW if chunk is None else chunk):
        yield from map(job, chunks)
        return
    yield from in_order(job, chunks, processes, start="fork")
