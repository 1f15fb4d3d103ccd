"""Zip files that have the same bytes whenever they have the same contents."""

from __future__ import annotations

import hashlib
import io
import shutil
import zipfile
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path
from typing import IO

from segbench.files import atomic_path

Content = bytes | Path
"""The bytes of a file, or the file with them."""
PACKED = frozenset({".parquet", ".png", ".jpg", ".pt", ".zip"})
"""Files that are compressed already."""
DATE = (1980, 1, 1, 0, 0, 0)
"""Date of all files in an archive: the first that the format has."""


def facts(content: Content) -> tuple[int, str]:
    """Return size and SHA-256 of a file."""
    with closing(_opened(content)) as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()  # type: ignore[arg-type]
    return (len(content) if isinstance(content, bytes) else content.stat().st_size), digest


def pack(members: Mapping[str, Content], out: Path) -> None:
    """Write a zip file of `members` by path, in the order of their paths. It appears when it is complete."""
    with atomic_path(out) as partial, zipfile.ZipFile(partial, "w") as archive:
        for name, content in sorted(members.items()):
            entry = zipfile.ZipInfo(name, DATE)
            entry.create_system, entry.external_attr = 3, 0o644 << 16
            stored = Path(name).suffix in PACKED
            entry.compress_type = zipfile.ZIP_STORED if stored else zipfile.ZIP_DEFLATED
            entry.file_size = facts(content)[0]
            with closing(_opened(content)) as source, archive.open(entry, "w") as target:
                shutil.copyfileobj(source, target, 1 << 20)


def _opened(content: Content) -> IO[bytes]:
    return io.BytesIO(content) if isinstance(content, bytes) else content.open("rb")
