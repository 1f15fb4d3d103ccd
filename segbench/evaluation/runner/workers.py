"""Work on many images by several processes, in order and in bounded memory."""

from __future__ import annotations

import multiprocessing
import os
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from itertools import islice
from typing import Any, TypeVar

import numpy as np

T = TypeVar("T")
_CHUNK = 64
"""Images that one process takes at a time."""
_FEW = 4 * _CHUNK
"""So many images are done before a second process has started."""
_KEPT = 24 << 20
"""Bytes. Allocating each array of an image afresh costs more time than the work on it."""
_job: Callable[[Sequence[Any]], Any]


def available() -> int:
    """Processors that this process may use."""
    return len(os.sched_getaffinity(0))


def in_chunks(job: Callable[[Sequence[Any]], T], items: Sequence[Any], processes: int) -> Iterator[T]:
    """`job` of some items at a time, in order, by at most so many processes.

    Processes are forked: they see what `job` refers to.
    """
    np.empty(_KEPT, np.uint8)  # glibc holds on to twice the largest block that it ever freed
    chunks = (items[i : i + _CHUNK] for i in range(0, len(items), _CHUNK))
    if processes <= 1 or len(items) <= _FEW:
        yield from map(job, chunks)
        return
    context = multiprocessing.get_context("fork")
    with ProcessPoolExecutor(processes, context, initializer=_set, initargs=(job,)) as pool:
        waiting: deque[Future[T]] = deque(pool.submit(_run, c) for c in islice(chunks, 2 * processes))
        try:
            while waiting:
                yield waiting.popleft().result()
                waiting.extend(pool.submit(_run, c) for c in islice(chunks, 1))
        finally:
            for future in waiting:
                future.cancel()


def _set(job: Callable[[Sequence[Any]], Any]) -> None:
    global _job
    _job = job


def _run(items: Sequence[Any]) -> Any:
    return _job(items)
