"""Calls in a thread of their own, in order."""

from __future__ import annotations

import threading
from collections.abc import Callable
from queue import Queue
from types import TracebackType
from typing import Any

AHEAD = 2
"""Maximum number of calls that wait."""


class Background:
    """Make calls of a function in a thread, in the order in which they are given.

    Used as a context. At its end, all calls are made; if it ends by an error, those that wait are dropped.
    An error of a call is raised by the next method, or at the end of the context; no later call is made.

    Args:
        call: the function; what it returns is dropped.
    """

    def __init__(self, call: Callable[..., None]) -> None:
        self._call = call
        self._waiting: Queue[tuple[Any, ...] | None] = Queue(AHEAD)
        self._error: BaseException | None = None
        self._dropped = False
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> Background:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._dropped = kind is not None
        self._waiting.put(None)
        self._thread.join()
        if kind is None:
            self._check()

    def __call__(self, *args: Any) -> None:
        """Give a call; wait for a place if `AHEAD` calls wait."""
        self._check()
        self._waiting.put(args)

    def wait(self) -> None:
        """Wait until all calls are made."""
        self._waiting.join()
        self._check()

    def _check(self) -> None:
        if self._error is not None:
            raise self._error

    def _run(self) -> None:
        while True:
            args = self._waiting.get()
            try:
                if args is None:
                    return
                if self._error is None and not self._dropped:
                    self._call(*args)
            except BaseException as error:
                self._error = error
            finally:
                self._waiting.task_done()
