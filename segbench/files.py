"""Atomic writing and checked reading of files: a file gets its final name only when it is complete."""

from __future__ import annotations

import codecs
import errno
import fcntl
import json
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any

from pydantic_core import from_json

from segbench.errors import OutOfMemory, SegbenchError

COMMON_ENCODINGS = ("gbk", "shift_jis", "cp1252")
"""Encodings that older Windows programs use."""


def is_full(error: OSError) -> bool:
    """Return whether the disk, or the user's quota, is full."""
    return error.errno in (errno.ENOSPC, errno.EDQUOT)


def is_continued(error: Exception) -> bool:
    """Return whether unfinished work is of use after an error: the memory or the disk was full."""
    return isinstance(error, OutOfMemory | MemoryError) or (isinstance(error, OSError) and is_full(error))


UNFINISHED = ".unfinished"
"""Folder for unfinished files, beside their final path. The last process that uses it removes it."""


@contextmanager
def scratch(path: str | Path) -> Iterator[Path]:
    """Yield a new temporary folder on the file system of `path`, and remove it at the end.

    Folders of processes that were killed are removed first. Each process locks its own folder while it runs,
    so folders in use are kept.
    """
    place = Path(path).parent / UNFINISHED
    lock = _claim(place)
    folder = Path(lock.name).with_suffix("")
    try:
        _sweep(place)
        folder.mkdir()
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        Path(lock.name).unlink(missing_ok=True)
        lock.close()
        with suppress(OSError):  # other processes use it
            place.rmdir()


def _claim(place: Path) -> IO[str]:
    """Create a file in `place`, locked while it is open. It reserves the folder of the same stem."""
    place.parent.mkdir(parents=True, exist_ok=True)
    while True:
        with suppress(FileExistsError):  # `exist_ok=True` fails if another process removes it now
            place.mkdir()
        with suppress(FileNotFoundError):  # another process finished and removed `place`
            lock = (place / f"{uuid.uuid4().hex[:8]}.lock").open("x", encoding="utf-8")
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:  # another process removed it before it was locked
                lock.close()
                continue
            except OSError:  # a file system without locks: no process can remove it
                return lock
            if Path(lock.name).exists():
                return lock
            lock.close()


def _sweep(place: Path) -> None:
    """Remove the folders of processes that have ended."""
    for path in place.glob("*.lock"):
        with suppress(OSError), path.open("r+", encoding="utf-8") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)  # OSError if its process is running
            shutil.rmtree(path.with_suffix(""), ignore_errors=True)
            path.unlink()


@contextmanager
def atomic_path(path: str | Path) -> Iterator[Path]:
    """Yield a temporary path. On a clean exit, the file that was written there replaces `path`."""
    path = Path(path)
    with scratch(path) as folder:
        yield folder / path.name
        (folder / path.name).replace(path)


@contextmanager
def atomic_folder(path: str | Path) -> Iterator[Path]:
    """Like `atomic_path`, for a folder: yield an empty folder, which replaces `path` on a clean exit."""
    path = Path(path)
    with scratch(path) as folder:
        new = folder / path.name
        new.mkdir()
        yield new
        replace_folder(new, path)


def replace_folder(new: Path, path: Path) -> None:
    """Give a folder the final name `path`. An older folder of this name is removed."""
    with scratch(path) as folder:
        while True:
            with suppress(FileNotFoundError):
                path.replace(folder / uuid.uuid4().hex)
            try:
                new.replace(path)
                return
            except OSError as error:
                if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):  # another process was faster
                    raise


@contextmanager
def resumable(path: str | Path, key: str) -> Iterator[Path]:
    """Yield a folder for unfinished work on `path`, on the same file system.

    If the process is killed, told to stop or runs out of memory or disk, the folder stays, and the next call
    with the same key continues in it. It is removed at any other end, and by a call with another key. The
    caller makes sure that no other process works on `path`.

    Args:
        path: what the work makes.
        key: digest of all that decides the work, valid as a file name.
    """
    place = Path(path).parent / UNFINISHED / f"{Path(path).name}.work"
    for other in place.glob("*"):
        if other.name != key:
            shutil.rmtree(other)
    folder = place / key
    while not folder.is_dir():
        with suppress(FileNotFoundError):  # another process removed the folder of unfinished files
            folder.mkdir(parents=True)
    try:
        yield folder
    except Exception as error:
        if not is_continued(error):
            _remove_work(place)
        raise
    _remove_work(place)


def _remove_work(place: Path) -> None:
    shutil.rmtree(place, ignore_errors=True)
    with suppress(OSError):  # other processes use it
        place.parent.rmdir()


def write_text(path: str | Path, text: str) -> None:
    """Write a UTF-8 text file atomically."""
    with atomic_path(path) as partial:
        partial.write_text(text, encoding="utf-8")


def write_json(path: str | Path, value: Any, *, indent: int | None = 2) -> None:
    """Write a JSON file atomically."""
    write_text(path, json.dumps(value, indent=indent, ensure_ascii=False) + "\n")


def read_json(path: str | Path, encoding: str | None = None) -> Any:
    """Read a JSON file in UTF-8 or UTF-16, with or without a byte order mark.

    Args:
        path: the file.
        encoding: encoding of files that are not in UTF-8, from the user's options.

    Raises:
        SegbenchError: the file is missing, unreadable or not valid JSON.
    """
    try:
        content = Path(path).read_bytes()
    except OSError as error:
        raise SegbenchError(
            f"cannot be read ({error.strerror})", where=path, remedy="check its path and permissions"
        ) from error
    try:
        if content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
            content = content.decode("utf-16").encode()
        return from_json(content.removeprefix(codecs.BOM_UTF8), cache_strings="keys")
    except ValueError as error:
        if not _is_utf8(content):
            return from_json(_decoded(content, Path(path), encoding), cache_strings="keys")
        raise SegbenchError(
            f"is not valid JSON ({error})", where=path, remedy="write or fetch it again"
        ) from error


def _is_utf8(content: bytes) -> bool:
    try:
        content.decode()
    except UnicodeDecodeError:
        return False
    return True


def _decoded(content: bytes, path: Path, encoding: str | None) -> str:
    """Decode JSON text that is not in UTF-8. SegbenchError if it is not in `encoding` either."""
    fitting = [name for name in (encoding, *COMMON_ENCODINGS) if name and _is_json_in(content, name)]
    if encoding in fitting:
        return content.decode(encoding)
    perhaps = f", perhaps {' or '.join(fitting)}" if fitting else ""
    also = f" nor {encoding}" if encoding and encoding != "utf-8" else ""
    option = ", or name its `encoding` in the dataset's options" if encoding else ""
    raise SegbenchError(
        f"is not text in UTF-8{also}{perhaps}", where=path, remedy=f"save it again in UTF-8{option}"
    )


def _is_json_in(content: bytes, encoding: str) -> bool:
    try:
        from_json(content.decode(encoding))
    except ValueError:
        return False
    return True
