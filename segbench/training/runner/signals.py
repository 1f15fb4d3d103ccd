"""Requests to stop: SIGTERM (schedulers, `scancel`), SIGUSR1 (before a time limit), and the limit itself."""

from __future__ import annotations

import math
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

Handler = Callable[[int, FrameType | None], None]
MARGIN_SECONDS = 120.0
"""Reserved before a time limit for the last step and the checkpoint, but at most a tenth of the time."""
STOPPING = (signal.SIGTERM, signal.SIGUSR1)


@contextmanager
def handling(handler: Handler) -> Iterator[None]:
    """Make SIGTERM and SIGUSR1 call only `handler` in the block, including signals that were `postponed`."""
    before = {}
    if threading.current_thread() is threading.main_thread():  # Python allows handlers in this thread only
        before = {number: signal.signal(number, handler) for number in STOPPING}
        signal.pthread_sigmask(signal.SIG_UNBLOCK, STOPPING)
    try:
        yield
    finally:
        for number, old in before.items():
            signal.signal(number, old)


@contextmanager
def postponed() -> Iterator[None]:
    """Block SIGTERM and SIGUSR1; processes started in the block keep them blocked until `handling`."""
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, STOPPING)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)


class StopSignals:
    """Record the first request to stop; use `receive` as the handler of a `handling` block.

    Args:
        stop_at: Unix time at which the process will be killed.
    """

    def __init__(self, stop_at: float | None = None) -> None:
        self._signal: str | None = None
        self._deadline = math.inf
        if stop_at is not None:
            self._deadline = stop_at - min(MARGIN_SECONDS, max(0.0, stop_at - time.time()) / 10)

    def receive(self, number: int, _: FrameType | None) -> None:
        """Handle a signal."""
        self._signal = signal.Signals(number).name

    @property
    def received(self) -> str | None:
        """The reason to stop, or None."""
        if self._signal is None and time.time() >= self._deadline:
            return "the time limit is near"
        return self._signal
