"""Files that other systems leave in folders: nobody means them."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

NAMES = frozenset({"__macosx", "thumbs.db", "ehthumbs.db", "desktop.ini", "@eadir", "#recycle"})
"""Of macOS, Windows and network storage, beside all hidden files (`.DS_Store`, `._x`)."""


def is_junk(parts: Iterable[str]) -> bool:
    """Whether one of these folder and file names is hidden, or known to be left by another system."""
    return any(part.startswith(".") or part.lower() in NAMES for part in parts)


def listed(folder: Path, pattern: str = "*") -> list[Path]:
    """The paths in `folder` that match a glob pattern, sorted, without junk."""
    return sorted(p for p in folder.glob(pattern) if not is_junk(p.relative_to(folder).parts))
