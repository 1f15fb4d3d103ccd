"""Requests to stop: SIGTERM (schedulers, `scancel`), SIGUSR1 (before a time limit), and the limit itself."""

from __future__ import annotations

import math
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

from segbench.jobs.segments import margin

Handler = Callable[[int, FrameType | None], None]
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
        self._signal: signal.Signals | None = None
        self._stop_at = math.inf if stop_at is None else stop_at
        self._reserve = 0.0 if stop_at is None else 60 * margin(max(0.0, stop_at - time.time()) / 60)

    def receive(self, number: int, _: FrameType | None) -> None:
        """Handle a signal."""
        self._signal = signal.Signals(number)

    def reserve(self, seconds: float) -> None:
        """Stop at least this long before the time limit: the time of one more step and a checkpoint."""
        self._reserve = max(self._reserve, seconds)

    @property
    def received(self) -> str | None:
        """The reason to stop, or None."""
        if self._signal is None and time.time() >= self._stop_at - self._reserve:
            return "the time limit is near"
        return self._signal.name if self._signal else None

    @property
    def at_limit(self) -> bool:
        """Whether the reason to stop is a time limit."""
        return bool(self.received) and self._signal in (None, signal.SIGUSR1)
