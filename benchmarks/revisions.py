"""Earlier revisions of this repository, to be timed beside the present files."""

from __future__ import annotations

import io
import subprocess
import tarfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def unpack(revision: str, folder: Path) -> Path:
    """Write the files of a revision into `folder`, and return it."""
    command = ["git", "-C", ROOT, "archive", revision]
    content = subprocess.run(command, check=True, capture_output=True).stdout
    with tarfile.open(fileobj=io.BytesIO(content)) as archive:
        archive.extractall(folder, filter="data")
    return folder
