"""Being told to stop: SIGTERM (schedulers, `scancel`), SIGUSR1 (before a time limit), the limit itself."""

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
"""Left before a time limit for the last step and the checkpoint; never more than a tenth of the time."""
STOPPING = (signal.SIGTERM, signal.SIGUSR1)


@contextmanager
def handling(handler: Handler) -> Iterator[None]:
    """While the block runs, SIGTERM and SIGUSR1 only call `handler`; also those that were `postponed`."""
    before = {}
    if threading.current_thread() is threading.main_thread():  # Python allows handlers nowhere else
        before = {number: signal.signal(number, handler) for number in STOPPING}
        signal.pthread_sigmask(signal.SIG_UNBLOCK, STOPPING)
    try:
        yield
    finally:
        for number, old in before.items():
            signal.signal(number, old)


@contextmanager
def postponed() -> Iterator[None]:
    """While the block runs, SIGTERM and SIGUSR1 wait; in processes started in it, until they handle them."""
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, STOPPING)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)


class StopSignals:
    """Why to stop, if there is a reason by now; a `handling` block feeds it."""

    def __init__(self, stop_at: float | None = None) -> None:
        """`stop_at`: Unix time at which the process will be ended."""
        self._signal: str | None = None
        self._deadline = math.inf
        if stop_at is not None:
            self._deadline = stop_at - min(MARGIN_SECONDS, max(0.0, stop_at - time.time()) / 10)

    def receive(self, number: int, _: FrameType | None) -> None:
        self._signal = signal.Signals(number).name

    @property
    def received(self) -> str | None:
        if self._signal is None and time.time() >= self._deadline:
            return "the time limit is near"
        return self._signal
