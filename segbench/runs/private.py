"""Remove from texts what only the machine knows: absolute paths, with the names of users in them."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

_NO_PATH = r"\s/\"'<>,;:()\[\]{}|`"
_PATH = re.compile(
    rf"(?<![\w:/.+=~…%-])~?(?:/[^{_NO_PATH}]+)+/([^{_NO_PATH}]*)|file://[^\s\"'<>]*/([^\s/\"'<>]*)"
)
_USER = re.compile(r"~[\w.-]*(?=/)|(?<=://)[^/\s@\"']+@")
_OPAQUE = re.compile(r"(<script\b.*?</script>|<style\b.*?</style>|data:[\w/+.-]+;base64,[\w+/=]*)", re.DOTALL)
"""Parts of a page in which a slash begins no path."""
MACHINE = ("node", "slurm_job", "pid", "job", "log")
"""Keys of records that name a machine, a process or a file of it."""


class Private:
    """Replace known folders, and whatever else looks like an absolute path, by `…`.

    Args:
        folders: absolute paths that may occur in the texts.
    """

    def __init__(self, folders: Iterable[Path]) -> None:
        known = {str(path).rstrip("/") for path in folders if path.is_absolute() and len(path.parts) > 1}
        ordered = sorted(known, key=lambda path: (-len(path), path))
        self._known = re.compile("|".join(map(re.escape, ordered)) + "(?![\\w.-])") if ordered else None

    def text(self, text: str) -> str:
        """Return a text without paths: the last part of each is left."""
        text = self._known.sub("…", text) if self._known else text
        text = _PATH.sub(lambda found: f"…/{found[1] or found[2] or ''}", text)
        return _USER.sub(lambda found: "…" if found[0].startswith("~") else "", text)

    def page(self, text: str) -> str:
        """Return an HTML or SVG file without paths; in scripts and pictures, without known folders."""
        text = self._known.sub("…", text) if self._known else text
        parts = _OPAQUE.split(text)
        return "".join(part if number % 2 else self.text(part) for number, part in enumerate(parts))

    def value(self, value: Any) -> Any:
        """Return a value of a JSON file without paths and without the keys `MACHINE`."""
        if isinstance(value, str):
            return self.text(value)
        if isinstance(value, list):
            return [self.value(one) for one in value]
        if isinstance(value, dict):
            kept = {key: one for key, one in value.items() if key not in MACHINE}
            return {self.text(key): self.value(one) for key, one in kept.items()}
        return value
