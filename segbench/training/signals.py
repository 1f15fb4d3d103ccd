"""Being told to stop: SIGTERM (schedulers, `scancel`) and SIGUSR1 (shortly before a time limit)."""

from __future__ import annotations

import signal
import threading
from types import FrameType
from typing import Any


class StopSignals:
    """While the `with` block runs, these signals only set `received`; the loop stops at the next step."""

    def __init__(self) -> None:
        self.received: str | None = None
        self._before: dict[int, Any] = {}

    def __enter__(self) -> StopSignals:
        if threading.current_thread() is threading.main_thread():  # Python allows handlers nowhere else
            self._before = {
                number: signal.signal(number, self._receive) for number in (signal.SIGTERM, signal.SIGUSR1)
            }
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _receive(self, number: int, _: FrameType | None) -> None:
        self.received = signal.Signals(number).name
