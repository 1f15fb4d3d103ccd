"""What this process may use of a machine: in a container, a quota and not what the host has."""

from __future__ import annotations

import shutil
from pathlib import Path

import psutil

MEMORY_LIMITS = (Path("/sys/fs/cgroup/memory.max"), Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"))
"""Limit of the container in bytes, or `max`: cgroups of version 2 and 1."""
SHARED_MEMORY = Path("/dev/shm")
MOST_WORKERS = 8
WORKER_BYTES = 512 * 2**20
"""Shared memory for the batches that one loader process has ready."""
RESERVED_MB = 1000
"""Memory for Snakemake itself and the system."""


def processors() -> int:
    """Return the number of processors: the least of quota, affinity and host."""
    from joblib import cpu_count  # `os.cpu_count` and Python's `process_cpu_count` know no quotas

    return cpu_count()


def memory_mb() -> int:
    """Return the main memory in MB for all jobs together: the quota or the host's, less `RESERVED_MB`."""
    limits = [psutil.virtual_memory().total]
    for path in MEMORY_LIMITS:
        text = path.read_text().strip() if path.exists() else "max"
        limits += [int(text)] if text != "max" else []
    return max(RESERVED_MB, min(limits) // 10**6 - RESERVED_MB)


def loader_workers() -> int:
    """Return a number of loader processes for one training: all processors but one, as many as have room.

    Loader processes pass batches through shared memory, of which containers often have 64 MB.
    """
    room = shutil.disk_usage(SHARED_MEMORY).free // WORKER_BYTES if SHARED_MEMORY.exists() else 0
    return min(MOST_WORKERS, processors() - 1, room)
