"""Files appear under their final name only when complete: write beside, then rename."""

from __future__ import annotations

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


def read_json(path: str | Path) -> Any:
    """Parse a JSON file; a missing, unreadable or malformed one is a `SegbenchError` that names it."""
    try:
        return from_json(Path(path).read_bytes(), cache_strings="keys")
    except OSError as error:
        raise SegbenchError(
            f"cannot be read ({error.strerror})", where=path, remedy="check its path and permissions"
        ) from error
    except ValueError as error:
        raise SegbenchError(
            f"is not valid JSON ({error})", where=path, remedy="write it again or fetch it again"
        ) from error
