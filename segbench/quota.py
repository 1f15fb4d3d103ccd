"""What this process may use of a machine: in a container, a quota and not what the host has."""

from __future__ import annotations

import shutil
from pathlib import Path

import psutil

MEMORY_LIMITS = (Path("/sys/fs/cgroup/memory.max"), Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"))
"""Limit of the container in bytes, or `max`: cgroups of version 2 and 1."""
FREE = tuple(
    zip(
        MEMORY_LIMITS,
        ("memory.current", "memory.usage_in_bytes"),
        ("inactive_file", "total_inactive_file"),
    )
)
"""Each limit with the file that has what is used, and the line of `memory.stat` with the cache of files."""
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


def free_memory() -> int:
    """Return the free main memory in bytes: that of the host, or what the container's quota leaves.

    The cache of files counts as free, since the system drops it when memory is needed.
    """
    free = psutil.virtual_memory().available
    for limit, used, cached in FREE:
        if limit.exists() and (most := limit.read_text().strip()) != "max":
            stat = dict(line.split() for line in (limit.parent / "memory.stat").read_text().splitlines())
            usage = int((limit.parent / used).read_text())
            free = min(free, int(most) - usage + int(stat.get(cached, 0)))
    return max(0, free)


def loader_workers() -> int:
    """Return a number of loader processes for one training: all processors but one, as many as have room.

    Loader processes pass batches through shared memory, of which containers often have 64 MB.
    """
    room = shutil.disk_usage(SHARED_MEMORY).free // WORKER_BYTES if SHARED_MEMORY.exists() else 0
    return min(MOST_WORKERS, processors() - 1, room)
