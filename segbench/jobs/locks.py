"""Locks that end with the process that holds them, however it ends.

`fcntl.flock` instead of `filelock`: here an exclusive lock can become a shared one, and the lock file names
its holder. `filelock.FileLock` is exclusive only, its `ReadWriteLock` cannot be downgraded, and neither names
the holder.
"""

from __future__ import annotations

import errno
import fcntl
import logging
import os
import platform
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import IO

from segbench.errors import SegbenchError

log = logging.getLogger(__name__)


def hold(
    folder: Path,
    *,
    shared: bool = False,
    where: Path | None = None,
    remedy: str = "wait for it, end it, or give this run another name (`run:`)",
) -> IO[str] | None:
    """Claim a folder for this process while the returned file is open.

    The claim holds on all nodes that share the file system, if this supports locks.

    Args:
        folder: folder to claim; created if it does not exist.
        shared: other processes may claim the folder as shared, too, but not exclusively.
        where: path that the error names instead of the folder.
        remedy: remedy that the error names.

    Returns:
        The open lock file, or None if `shared` and the folder is read-only.

    Raises:
        SegbenchError: another process, which the error names, holds the folder, or it cannot be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        file = (folder / ".lock").open("a+", encoding="utf-8")
    except OSError as error:
        if shared and error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
            return None
        raise SegbenchError(
            f"cannot be written ({error.strerror})", where=folder, remedy="check its path and permissions"
        ) from error
    try:
        fcntl.flock(file, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
    except BlockingIOError:
        file.seek(0)
        raise SegbenchError(
            f"another run uses this folder ({file.read().strip()})", where=where or folder, remedy=remedy
        ) from None
    except OSError as error:
        log.warning("%s cannot be locked (%s); do not start two runs there", folder, error)
    file.truncate(0)
    file.write(f"process {os.getpid()} on {platform.node()}, since {time.strftime('%Y-%m-%d %H:%M:%S')}\n")
    file.flush()
    return file


def share(file: IO[str]) -> None:
    """Turn an exclusive claim of `hold` into a shared one."""
    fcntl.flock(file, fcntl.LOCK_SH)


def place_of_locks(path: Path) -> Path:
    """Return the folder of the locks for a path that runs share.

    It lies next to the path, since the path itself is replaced when it is made again.
    """
    return path.parent / ".locks" / path.name


def alone_with(path: Path) -> AbstractContextManager[bool]:
    """Wait until no other process of this machine makes `path`, then keep others waiting in the block."""
    return alone_in(place_of_locks(path))


@contextmanager
def alone_if_free(folder: Path) -> Iterator[bool]:
    """Try to lock a folder as `alone_in` does, without waiting.

    Yields:
        Whether the folder is locked by this process.
    """
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
            return
        except OSError as error:  # some file systems cannot lock folders
            log.debug("%s cannot be locked (%s)", folder, error)
        yield True
    finally:
        os.close(descriptor)


@contextmanager
def alone_in(folder: Path) -> Iterator[bool]:
    """Lock a folder in the block; wait while another process of this machine holds it.

    Yields:
        Whether it had to wait.
    """
    folder.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(folder, os.O_RDONLY)
    waited = False
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            log.info("%s: waiting for another process that uses this folder", folder)
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            waited = True
        except OSError as error:  # some file systems cannot lock folders
            log.debug("%s cannot be locked (%s)", folder, error)
        yield waited
    finally:
        os.close(descriptor)
