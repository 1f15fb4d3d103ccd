"""Files that operating systems leave in folders, and that are not data."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

NAMES = frozenset({"__macosx", "thumbs.db", "ehthumbs.db", "desktop.ini", "@eadir", "#recycle"})
"""Names that macOS, Windows and network storage use. Hidden files (`.DS_Store`, `._x`) are junk, too."""


def is_junk(parts: Iterable[str]) -> bool:
    """Return whether one of the parts of a path is hidden or in `NAMES`."""
    return any(part.startswith(".") or part.lower() in NAMES for part in parts)


def listed(folder: Path, pattern: str = "*") -> list[Path]:
    """Return the paths in `folder` that match a glob pattern, sorted, without junk."""
    return sorted(p for p in folder.glob(pattern) if not is_junk(p.relative_to(folder).parts))
