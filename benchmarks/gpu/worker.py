"""A process in which the items of all parts run, one after the other.

An item that takes too long, or breaks the process or its CUDA context, ends this process only. The next item
then gets a new one.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from contextlib import suppress
from multiprocessing import get_context
from multiprocessing.connection import Connection
from typing import Any, NamedTuple

_CONTEXT = get_context("spawn")


class Record(NamedTuple):
    """What has become of an item."""

    part: str
    item: str
    status: str
    """ok, failed or skipped."""
    reason: str
    """Why it has failed or was skipped."""
    seconds: float
    result: dict[str, Any]


class NotApplicable(Exception):
    """The item does not apply to this device; the message says why."""


class Worker:
    """Runs functions in a process of its own, which starts with the first one."""

    def __init__(self) -> None:
        self._process: Any = None

    def run(
        self, part: str, item: str, call: Callable[..., dict[str, Any]], args: Any, limit: float
    ) -> Record:
        """Run a function of a module with arguments, for at most `limit` seconds.

        Its process starts within this time, so that a limit below some ten seconds leaves nothing.
        """
        began = time.monotonic()
        if self._process is None:
            self._pipe, other = _CONTEXT.Pipe()
            self._process = _CONTEXT.Process(target=_serve, args=(other,))
            self._process.start()
            other.close()
        self._pipe.send((call, args))
        status, reason, result = "failed", f"stopped after {limit:.0f} s", {}
        broken = True
        if self._pipe.poll(limit):
            try:
                status, reason, result, broken = self._pipe.recv()
            except EOFError:
                self._process.join(5)
                reason = f"its process ended (status {self._process.exitcode})"
        if broken:
            self.close()
        return Record(part, item, status, reason, round(time.monotonic() - began, 2), result)

    def close(self) -> None:
        """End the process and those that it started."""
        if self._process is not None:
            with suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process.kill()  # it may not have its group yet
            self._process.join()
            self._pipe.close()
            self._process = None


def _serve(pipe: Connection) -> None:
    os.setpgid(0, 0)
    with suppress(EOFError):
        while True:
            call, args = pipe.recv()
            pipe.send(attempt(call, args))


def attempt(call: Callable[..., dict[str, Any]], args: Any) -> tuple[str, str, dict[str, Any], bool]:
    """Return status, reason, result, and whether the process is of no more use."""
    try:
        return "ok", "", call(*args), False
    except NotApplicable as error:
        return "skipped", str(error), {}, False
    except Exception as error:
        text = " ".join(f"{type(error).__name__}: {error}".split())[:500]
        return "failed", text, {}, "CUDA error" in text  # after one, every later call in the process fails
