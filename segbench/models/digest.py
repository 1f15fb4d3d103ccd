"""Digest of a `model.pt`. This module does not import torch."""

from __future__ import annotations

import hashlib
import zipfile
from pathlib import Path

from segbench.errors import SegbenchError


def model_digest(path: Path) -> str:
    """Hash names, sizes and checksums of the parts of a model.pt, a zip file, without reading its weights.

    Raises:
        SegbenchError: the file is no zip file.
    """
    try:
        with zipfile.ZipFile(path) as file:
            parts = [(part.filename, part.file_size, part.CRC) for part in file.infolist()]
    except zipfile.BadZipFile as error:
        raise SegbenchError(
            f"cannot be read ({error})", where=path, remedy="remove the file and make it again"
        ) from error
    return hashlib.sha256(repr(parts).encode()).hexdigest()
