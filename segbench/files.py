"""Files appear under their final name only when complete: write beside, then rename."""

from __future__ import annotations

import codecs
import errno
import json
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pydantic_core import from_json

from segbench.errors import SegbenchError

COMMON_ENCODINGS = ("gbk", "shift_jis", "cp1252")
"""In which older programs on Windows write text."""


def is_full(error: OSError) -> bool:
    """Whether it says that the disk, or the user's part of it, is full."""
    return error.errno in (errno.ENOSPC, errno.EDQUOT)


def _beside(path: Path) -> Path:
    return path.with_name(f".{path.name[:80]}.{uuid.uuid4().hex[:8]}.partial{path.suffix}")


@contextmanager
def atomic_path(path: str | Path) -> Iterator[Path]:
    """Yield a path beside `path`; what was written there takes the final name on a clean exit only."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = _beside(path)
    try:
        yield partial
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


@contextmanager
def atomic_folder(path: str | Path) -> Iterator[Path]:
    """Like `atomic_path` for a folder; an older folder of that name is replaced only at the end."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    partial, old = _beside(path), _beside(path)
    partial.mkdir()
    try:
        yield partial
        if path.exists():
            path.replace(old)
        partial.replace(path)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
        shutil.rmtree(old, ignore_errors=True)


def remove_partials(folder: Path) -> None:
    """Of writers that were killed; only where no other can be at work."""
    for path in folder.glob(".*.partial*"):
        path.unlink()


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
