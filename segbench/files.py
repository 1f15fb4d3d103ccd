"""Files appear under their final name only when complete; until then they are unfinished work."""

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

from segbench.errors import SegbenchError

COMMON_ENCODINGS = ("gbk", "shift_jis", "cp1252")
"""In which older programs on Windows write text."""


def is_full(error: OSError) -> bool:
    """Whether it says that the disk, or the user's part of it, is full."""
    return error.errno in (errno.ENOSPC, errno.EDQUOT)


UNFINISHED = ".unfinished"
"""Folder of unfinished work, beside what is to come of it; it goes with the last process at work there."""


@contextmanager
def scratch(path: str | Path) -> Iterator[Path]:
    """Yield a new folder on the file system of `path`, for work on it; the folder is removed at the end.

    Before, what processes that were killed left there is removed. Work of a process that lives stays: it
    holds a lock that ends with it.
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
        with suppress(OSError):  # others are at work there
            place.rmdir()


def _claim(place: Path) -> IO[str]:
    """A new file in `place`, locked while it is open; it names a folder beside it that is nobody else's."""
    while True:
        place.mkdir(parents=True, exist_ok=True)
        with suppress(FileNotFoundError):  # who has finished there has removed `place`
            lock = (place / f"{uuid.uuid4().hex[:8]}.lock").open("x", encoding="utf-8")
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:  # swept before it was locked
                lock.close()
                continue
            except OSError:  # a file system without locks: nobody can sweep either
                return lock
            if Path(lock.name).exists():
                return lock
            lock.close()


def _sweep(place: Path) -> None:
    """Remove the work of processes that have ended."""
    for path in place.glob("*.lock"):
        with suppress(OSError), path.open("r+", encoding="utf-8") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)  # an OSError where its process lives
            shutil.rmtree(path.with_suffix(""), ignore_errors=True)
            path.unlink()


@contextmanager
def atomic_path(path: str | Path) -> Iterator[Path]:
    """Yield another path; the file that was written there becomes `path` on a clean exit only."""
    path = Path(path)
    with scratch(path) as folder:
        yield folder / path.name
        (folder / path.name).replace(path)


@contextmanager
def atomic_folder(path: str | Path) -> Iterator[Path]:
    """Like `atomic_path` for a folder; an older folder of that name is replaced only at the end."""
    path = Path(path)
    with scratch(path) as folder:
        new = folder / path.name
        new.mkdir()
        yield new
        while True:
            with suppress(FileNotFoundError):
                path.replace(folder / uuid.uuid4().hex)
            try:
                new.replace(path)
                return
            except OSError as error:
                if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):  # another process was faster
                    raise


def write_text(path: str | Path, text: str) -> None:
    with atomic_path(path) as partial:
        partial.write_text(text, encoding="utf-8")


def write_json(path: str | Path, value: Any, *, indent: int | None = 2) -> None:
    write_text(path, json.dumps(value, indent=indent, ensure_ascii=False) + "\n")


def read_json(path: str | Path, encoding: str | None = None) -> Any:
    """Parse a JSON file; a missing, unreadable or malformed one is a `SegbenchError` that names it.

    A byte order mark is skipped. encoding: what text that is not UTF-8 is in, as the user's options say.
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
            f"is not valid JSON ({error})", where=path, remedy="write it again or fetch it again"
        ) from error


def _is_utf8(content: bytes) -> bool:
    try:
        content.decode()
    except UnicodeDecodeError:
        return False
    return True


def _decoded(content: bytes, path: Path, encoding: str | None) -> str:
    """JSON text that is not UTF-8; SegbenchError where it is not in `encoding` either."""
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
