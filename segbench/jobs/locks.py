"""Locks that end with the process that holds them, however it ends."""

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
    """Claim `folder` for this process while the returned file is open, in every working directory and node.

    `shared`: others may claim it so as well, but not alone; None where the folder can only be read.
    `where`: what the message names instead of the folder. Raises SegbenchError that names the process that
    has it.
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
            f"another run is at work here ({file.read().strip()})", where=where or folder, remedy=remedy
        ) from None
    except OSError as error:
        log.warning("%s cannot be locked (%s): do not start two runs there", folder, error)
    file.truncate(0)
    file.write(f"process {os.getpid()} on {platform.node()}, since {time.strftime('%Y-%m-%d %H:%M:%S')}\n")
    file.flush()
    return file


def share(file: IO[str]) -> None:
    """Let others claim what `hold` gave to this process alone, as `shared`."""
    fcntl.flock(file, fcntl.LOCK_SH)


def place_of_locks(path: Path) -> Path:
    """Folder for the locks of what runs share: beside it, as it is replaced when it is made again."""
    return path.parent / ".locks" / path.name


def alone_with(path: Path) -> AbstractContextManager[bool]:
    """Wait until no process of this machine makes `path`, which runs share."""
    return alone_in(place_of_locks(path))


@contextmanager
def alone_if_free(folder: Path) -> Iterator[bool]:
    """Like `alone_in`, without waiting; yields whether no process is in such a block for `folder`."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
            return
        except OSError as error:  # file systems that lock files only
            log.debug("%s cannot be locked (%s)", folder, error)
        yield True
    finally:
        os.close(descriptor)


@contextmanager
def alone_in(folder: Path) -> Iterator[bool]:
    """Wait until no process of this machine is in such a block for `folder`; yields whether one was."""
    folder.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(folder, os.O_RDONLY)
    waited = False
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            log.info("%s: another process is at work here; waiting for it", folder)
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            waited = True
        except OSError as error:  # file systems that lock files only
            log.debug("%s cannot be locked (%s)", folder, error)
        yield waited
    finally:
        os.close(descriptor)
