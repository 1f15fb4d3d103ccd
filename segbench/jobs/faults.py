"""Which errors may be gone at the next attempt, on another node."""

from __future__ import annotations

import errno
import re

PASSING = frozenset(
    {
        errno.EIO,
        errno.ESTALE,
        errno.ETIMEDOUT,
        errno.ECONNRESET,
        errno.EHOSTDOWN,
        errno.EHOSTUNREACH,
        errno.ENETDOWN,
        errno.ENETUNREACH,
        errno.EREMOTEIO,
    }
)
"""Errors of a disk or network."""
HARDWARE = re.compile(
    r"uncorrectable ECC|unspecified launch failure|CUDA-capable device\(s\) is/are busy"
    r"|no CUDA-capable device|NCCL|[Cc]onnection (closed|reset) by peer"
)
"""Messages of torch for a broken or occupied GPU, and for a process of the training that was lost."""


def is_passing(error: BaseException | None) -> bool:
    """Return whether an error, or one that caused it, comes from a disk, a network or a broken device."""
    while error is not None:
        if isinstance(error, OSError) and error.errno in PASSING:
            return True
        if isinstance(error, RuntimeError) and HARDWARE.search(str(error)):
            return True
        error = error.__cause__
    return False
