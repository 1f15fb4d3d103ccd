"""Reserve devices of this machine: one step at a time uses a GPU.

Snakemake counts GPUs (`--resources gpu=2`) but does not assign them: every step sees all of them and would
use the first. Therefore a step locks one file per GPU. The lock ends with the process, however it ends.
`fcntl.flock` suffices: `filelock.FileLock` calls the same function and would add nothing here.
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
    """Reserve devices for the duration of the block.

    Args:
        name: auto (GPUs if there are any, else the processor), cpu, cuda or cuda:<n>. auto and cuda wait for
            GPUs that no other step of this user holds, among those that CUDA_VISIBLE_DEVICES shows. cuda:<n>
            uses that GPU without a reservation.
        count: number of devices. On the processor, the same device is returned `count` times.

    Raises:
        SegbenchError: the device does not exist, or there are fewer than `count`.
    """
    # device_count() asks the driver's library: CUDA must not be initialised before the processes fork
    found = torch.cuda.device_count() if name in ("auto", "cuda") else 0
    if not found:
        device = pick_device(name)
        if count > 1 and device.type == "cuda":
            raise SegbenchError(f"'{name}' is one device, gpus: {count} needs more", where="device")
        yield [device] * count
        return
    if found < count:
        raise SegbenchError(
            f"gpus: {count} is requested, but {found} are found",
            where="recipe.gpus",
            remedy="use a smaller number of gpus, or check CUDA_VISIBLE_DEVICES",
        )
    with ExitStack() as held:
        waited = False
        while not (devices := _lock_gpus(found, count, held)):
            if not waited:
                log.info("other steps use the %d GPUs; waiting", found)
                waited = True
            time.sleep(random.uniform(0.2, 1))
        log.info("using %s", ", ".join(map(str, devices)))
        yield devices


def _lock_gpus(found: int, count: int, held: ExitStack) -> list[torch.device]:
    """Lock `count` GPUs and keep the locks in `held`; return an empty list if fewer are free."""
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
    """Return the folder of the lock files, one for each user and SLURM job.

    SLURM jobs do not share GPUs, and each job may number its own from 0.
    """
    name = f"segbench-gpus-{os.getuid()}-{os.environ.get('SLURM_JOB_ID', 'local')}"
    folder = Path(tempfile.gettempdir()) / name
    folder.mkdir(mode=0o700, exist_ok=True)
    return folder


def _names(found: int) -> list[str]:
    """Name the visible GPUs; a GPU has the same name in every step, whichever GPUs the step sees."""
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    names = visible.split(",") if visible is not None else [str(i) for i in range(found)]
    return [name.strip().replace("/", "_") for name in names[:found]]
