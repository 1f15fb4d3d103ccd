"""The machine and the software that made a result."""

from __future__ import annotations

import hashlib
import os
import platform
import resource
import subprocess
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

PACKAGES = ("segbench", "torch", "torchvision", "timm", "numpy")


def provenance(device: torch.device) -> dict[str, Any]:
    """Return machine, processor or GPU, versions, and the commit if the code is a git checkout."""
    found: dict[str, Any] = {
        "node": platform.node(),
        "processor": _processor(),
        "processors": len(os.sched_getaffinity(0)),
        "threads": torch.get_num_threads(),
        "device": str(device),
        "gpu": None,
        "driver": None,
        "cuda": torch.version.cuda,
        "slurm_job": os.environ.get("SLURM_JOB_ID"),
        "python": platform.python_version(),
        "versions": {package: version(package) for package in PACKAGES},
        "git_commit": _git_commit(),
    }
    if device.type == "cuda":
        found |= {"gpu": torch.cuda.get_device_name(device), "driver": _driver()}
    return found


def sha256(path: Path) -> str:
    """Return the SHA-256 of a file, as hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def peak_memory(device: torch.device) -> int:
    """Return the peak memory in bytes: allocated by torch on a GPU, or resident in this process."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    return next(
        (line.partition(":")[2].strip() for line in lines if line.startswith("model name")),
        platform.machine(),
    )


def _driver() -> str | None:
    try:
        return Path("/proc/driver/nvidia/version").read_text().splitlines()[0].partition(":")[2].strip()
    except OSError:
        return None


def _git_commit() -> str | None:
    command = ["git", "-C", str(Path(__file__).parent), "describe", "--always", "--dirty", "--abbrev=40"]
    try:
        return subprocess.run(command, capture_output=True, text=True, timeout=10, check=True).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return None
