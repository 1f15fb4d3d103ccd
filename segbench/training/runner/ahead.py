"""Copy the next batch to the device while it computes on the one before."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, closing, nullcontext
from queue import SimpleQueue
from typing import Any, NamedTuple

import torch
from torch import Tensor

from segbench.copying import upload
from segbench.data.loading.loader import Batch

SECONDS = 10.0
"""Time that the thread has to end."""


def copied_ahead(
    batches: Iterator[Batch], device: torch.device, workers: int
) -> AbstractContextManager[Iterator[Batch]]:
    """Return a context that gives the batches, copied ahead to the device (see `CopiedAhead`).

    On a processor there is nothing to copy. Without loader processes the batches come as they are: a thread
    would draw from the random generators of the training.
    """
    if device.type == "cpu" or not workers:
        return nullcontext(batches)
    return closing(CopiedAhead(batches, device))


class _Copied(NamedTuple):
    batch: Any
    event: Any
    """Recorded on the stream of the copies when they are made."""


class CopiedAhead(Iterator[Batch]):
    """Pass on batches, copied to a device by a thread on a stream of its own.

    One batch at a time is ahead on the device; the thread takes a further one from the loader meanwhile. The
    first batch is taken in the thread of the caller: loader processes start then, and torch watches those of
    the main thread.

    Args:
        batches: the batches of a loader; its processes, and not this one, must draw the random numbers.
        device: device to copy to, best from pinned memory.
    """

    def __init__(self, batches: Iterator[Batch], device: torch.device) -> None:
        self._device = device
        self._streams = torch.get_device_module(device)
        self._stream = self._streams.Stream(device)
        self._room = threading.Semaphore(1)
        self._ready: SimpleQueue[_Copied | BaseException] = SimpleQueue()
        self._closed = False
        self._batches = batches
        self._thread: threading.Thread | None = None

    def __next__(self) -> Batch:
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, args=(next(self._batches),), daemon=True)
            self._thread.start()
        found = self._ready.get()
        if isinstance(found, BaseException):
            self._ready.put(found)  # a further call gives it again
            raise found
        stream = self._streams.current_stream(self._device)
        stream.wait_event(found.event)  # the device waits, and this thread does not
        # the memory must not be used for the copies of a later batch before the device has used this one
        _each_tensor(found.batch, lambda tensor: tensor.record_stream(stream))
        self._room.release()
        return found.batch

    def close(self) -> None:
        """End the thread, and with it the loader."""
        self._closed = True
        self._room.release()
        if self._thread:
            self._thread.join(SECONDS)

    def _run(self, first: Batch) -> None:
        try:
            self._copy(first)
            while not self._closed:
                self._copy(next(self._batches))
        except BaseException as error:  # StopIteration, too
            self._ready.put(error)
        del self._batches  # ends the loader processes

    def _copy(self, batch: Batch) -> None:
        self._room.acquire()
        if self._closed:
            return
        with self._streams.stream(self._stream):
            copied = _each_tensor(batch, lambda tensor: upload(tensor, self._device))
            self._ready.put(_Copied(copied, self._stream.record_event()))


def _each_tensor(value: Any, change: Callable[[Tensor], Any]) -> Any:
    """Return a nested value with each of its tensors changed; other leaves stay."""
    if isinstance(value, Tensor):
        return change(value)
    if isinstance(value, dict):
        return {key: _each_tensor(one, change) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(_each_tensor(one, change) for one in value)
    return value
