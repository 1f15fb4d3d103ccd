"""Start the processes of one training, one for each device of this machine.

Python's forkserver forks them. It has imported all modules and done nothing else, so the processes do not
inherit threads, CUDA or locks of this process, and imports happen once. `torchrun` cannot replace this, since
it forwards neither SIGUSR1 nor the exit status.
"""

from __future__ import annotations

import logging
import os
import signal
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from logging.handlers import QueueHandler, QueueListener
from multiprocessing import get_context
from types import FrameType
from typing import Any

import torch
import torch.distributed as dist
from torch.multiprocessing import ProcessExitedException, start_processes

from segbench.errors import OutOfMemory, SegbenchError
from segbench.jobs.processes import end_with_parent
from segbench.jobs.state import Stopped
from segbench.training.runner.signals import handling, postponed

log = logging.getLogger(__name__)
HOST = "127.0.0.1"


def run_on(devices: list[torch.device], step: Callable[..., None], *arguments: Any) -> None:
    """Call `step(device, *arguments)` for all devices in parallel; for one device, in this process.

    With several devices, `step` and its arguments are pickled, and the main module must be importable. This
    process forwards SIGTERM and SIGUSR1 to the others, and shows their log messages.

    Raises:
        SegbenchError, OSError, RuntimeError: the error of the first process that failed.
        OutOfMemory: a process was killed.
        Stopped: the processes saved a checkpoint and stopped.
    """
    if len(devices) == 1:
        step(devices[0], *arguments)
        return
    context = get_context("forkserver")
    context.set_forkserver_preload([__name__, step.__module__])
    store = dist.TCPStore(HOST, 0, is_master=True, wait_for_workers=False)
    root = logging.getLogger()
    # Schedulers signal all processes of a job. The step handles the signal; Python's helper processes must
    # survive it.
    with postponed():
        errors, records = context.SimpleQueue(), context.Queue()
    with postponed():  # again: Python lets SIGTERM through once it has started its resource tracker
        processes = start_processes(
            _process,
            (store.port, devices, errors, records, root.level, step, arguments),
            nprocs=len(devices),
            join=False,
            start_method="forkserver",
        )
    listener = QueueListener(records, *root.handlers, respect_handler_level=True)
    listener.start()

    def forward(number: int, _: FrameType | None) -> None:
        for pid in processes.pids():
            with suppress(ProcessLookupError):
                os.kill(pid, number)

    try:
        with handling(forward):
            while not processes.join():
                pass
    except ProcessExitedException as error:
        if error.exit_code == -signal.SIGKILL:
            raise OutOfMemory(
                "a process of this training was killed, probably because the memory is full",
                remedy="give the step more memory, or fewer workers",
            ) from error
        if not errors.empty():
            raise errors.get() from None
        raise
    finally:
        listener.stop()


def _process(
    index: int,
    port: int,
    devices: list[torch.device],
    errors: Any,
    records: Any,
    level: int,
    step: Callable[..., None],
    arguments: tuple[Any, ...],
) -> None:
    threading.Thread(target=end_with_parent, daemon=True).start()
    root = logging.getLogger()
    root.setLevel(level)
    root.addHandler(QueueHandler(records))
    device = devices[index]
    if index:
        logging.disable(logging.WARNING)  # process 0 logs for all
    os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo")  # the host name may resolve to an unreachable address
    backend = "cpu:gloo,cuda:nccl" if device.type == "cuda" else "gloo"
    store = dist.TCPStore(HOST, port, is_master=False)
    dist.init_process_group(backend, store=store, rank=index, world_size=len(devices))
    try:
        step(device, *arguments)
    except Stopped as stop:
        errors.put(stop)
        raise
    except (SegbenchError, OSError) as error:
        errors.put(error)
        sys.exit(1)
    except Exception as error:
        if errors.empty():  # otherwise another process failed first, and this one lost its connection
            log.exception("process %d of %d failed", index + 1, len(devices))
        errors.put(RuntimeError(f"{type(error).__name__}: {error}"))
        sys.exit(1)
    dist.destroy_process_group()
