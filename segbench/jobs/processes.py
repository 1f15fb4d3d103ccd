"""Share the work of a step among processes."""

from __future__ import annotations

import logging
import multiprocessing
import os
import signal
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from itertools import islice
from typing import Any, Literal, TypeVar

from segbench.errors import OutOfMemory

T = TypeVar("T")
R = TypeVar("R")
Start = Literal["fork", "forkserver"]
"""`fork` is quick and needs no pickling of the job. `forkserver` shares no memory, threads or locks with this
process, so that large objects of this process are not copied page by page."""
_job: Callable[[Any], Any]


def in_order(
    job: Callable[[T], R], items: Iterable[T], processes: int, *, start: Start, modules: Iterable[str] = ()
) -> Iterator[R]:
    """Yield `job(item)` for each item, in order. At most two items for each process are in memory.

    The processes end with this one, however it ends. Their log messages are shown by this process.

    Args:
        job: the work on one item; with `forkserver`, it is pickled once for each process.
        items: what is pickled for the processes.
        processes: number of processes.
        start: how processes are started.
        modules: what `forkserver` imports only once, for all processes.

    Raises:
        OutOfMemory: a process was killed.
    """
    context = multiprocessing.get_context(start)
    if start == "forkserver":
        context.set_forkserver_preload([*modules])
    level = logging.getLogger().level
    remaining = iter(items)
    pool = ProcessPoolExecutor(processes, context, initializer=_begin, initargs=(job, level))
    try:
        waiting: deque[Future[tuple[R, list[logging.LogRecord]]]] = deque()
        while True:
            waiting.extend(
                pool.submit(_run, item) for item in islice(remaining, 2 * processes - len(waiting))
            )
            if not waiting:
                break
            result, records = waiting.popleft().result()
            for record in records:
                logging.getLogger(record.name).handle(record)
            yield result
    except BrokenProcessPool as error:
        raise OutOfMemory(
            "a process of this step was killed, probably because the memory is full",
            remedy="give the step more memory, or fewer threads",
        ) from error
    finally:
        pool.shutdown(cancel_futures=True)


class _Kept(logging.Handler):
    """Keeps log messages, which the parent process shows."""

    def __init__(self) -> None:
        super().__init__()
        self.records: list[logging.LogRecord] = []

    def emit(self, record: logging.LogRecord) -> None:
        record.msg, record.args = record.getMessage(), None
        self.records.append(record)


_log = _Kept()


def _begin(job: Callable[[Any], Any], level: int) -> None:
    global _job
    _job = job
    # schedulers and terminals signal all processes of a job: the parent ends the others
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1):
        signal.signal(number, signal.SIG_IGN)
    threading.Thread(target=end_with_parent, daemon=True).start()
    root = logging.getLogger()
    root.handlers[:] = [_log]
    root.setLevel(level)


def _run(item: Any) -> tuple[Any, list[logging.LogRecord]]:
    _log.records.clear()
    return _job(item), [*_log.records]


def end_with_parent() -> None:
    """End this process when its parent ends: the parent holds the locks of the step."""
    parent = multiprocessing.parent_process()
    if parent:
        parent.join()
    os._exit(1)
