"""Change files of a run."""

from __future__ import annotations

import json
from pathlib import Path


def edit(path: Path, **values: object) -> None:
    """Set keys of a JSON file."""
    known = json.loads(path.read_text()) if path.exists() else {}
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(known | values))
