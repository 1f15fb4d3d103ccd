"""Devices of this machine for one step: a GPU goes to one step at a time.

Snakemake counts GPUs (`--resources gpu=2`) but hands none out: every step of the run sees all of them, and
would take the first. So a step locks a file per GPU; the lock goes with the process, however it ends.
"""

from __future__ import annotations

import fcntl
import logging
import os
import random
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import torch

from segbench.errors import SegbenchError
from segbench.training.precision import pick_device

log = logging.getLogger(__name__)


@contextmanager
def leased(name: str, count: int = 1) -> Iterator[list[torch.device]]:
    """`count` devices as `name` says: auto (GPUs where there are any, else the processor), cpu, cuda[:<n>].

    auto and cuda wait for GPUs that no other step of this user holds, among those that CUDA_VISIBLE_DEVICES
    leaves; cuda:<n> takes that one, held or not. On the processor all are the same device.
    Raises SegbenchError: no such device, or fewer of them.
    """
    # counted by the driver's library: CUDA itself must not be initialised before the processes fork
    found = torch.cuda.device_count() if name in ("auto", "cuda") else 0
    if not found:
        device = pick_device(name)
        if count > 1 and device.type == "cuda":
            raise SegbenchError(f"'{name}' is one device, gpus: {count} needs more", where="device")
        yield [device] * count
        return
    if found < count:
        raise SegbenchError(
            f"gpus: {count} asked for, {found} found",
            where="recipe.gpus",
            remedy="use a smaller number of gpus, or check CUDA_VISIBLE_DEVICES",
        )
    with ExitStack() as held:
        waited = False
        while not (devices := _take(found, count, held)):
            if not waited:
                log.info("all %d GPUs are taken by other steps; waiting", found)
                waited = True
            time.sleep(random.uniform(0.2, 1))
        log.info("uses %s", ", ".join(map(str, devices)))
        yield devices


def _take(found: int, count: int, held: ExitStack) -> list[torch.device]:
    """Lock `count` of the GPUs and keep the locks in `held`; nothing where fewer are free."""
    folder = _folder()
    devices = []
    with ExitStack() as locks:
        for index, name in enumerate(_names(found)):
            file = locks.enter_context((folder / name).open("w"))
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                continue
            devices.append(torch.device("cuda", index))
            if len(devices) == count:
                held.push(locks.pop_all())
                return devices
    return []


def _folder() -> Path:
    """One a user and a SLURM job: jobs share no GPU, and each may count its own from 0."""
    name = f"segbench-gpus-{os.getuid()}-{os.environ.get('SLURM_JOB_ID', 'local')}"
    folder = Path(tempfile.gettempdir()) / name
    folder.mkdir(mode=0o700, exist_ok=True)
    return folder


def _names(found: int) -> list[str]:
    """Of the visible GPUs, the same in every step whatever part of them it sees."""
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    names = visible.split(",") if visible is not None else [str(i) for i in range(found)]
    return [name.strip().replace("/", "_") for name in names[:found]]
