"""The class of the network in a `model.pt`, read without torch and without running anything in the file."""

from __future__ import annotations

import json
import pickletools
import zipfile
from functools import cache
from pathlib import Path

from segbench.errors import SegbenchError

LONGEST = 2**26
"""Largest size in bytes of the part that describes the tensors; that of any network is far smaller."""


@cache
def trained_class(path: Path) -> str:
    """Return the Python path of the network in a `model.pt`.

    The file is a zip file of `torch.save`. Its pickle is only scanned, for the text after the key
    `spec`.

    Args:
        path: the file.

    Raises:
        SegbenchError: the file does not exist or is no `model.pt` of a training.
    """
    remedy = "give the model.pt of a trained cell"
    if not path.is_file():
        raise SegbenchError("does not exist", where=path, remedy=remedy)
    try:
        with zipfile.ZipFile(path) as file:
            part = next(p for p in file.infolist() if p.filename.endswith("/data.pkl"))
            if part.file_size > LONGEST:
                raise ValueError(f"a description of {part.file_size} bytes")
            spec = json.loads(_text_after("spec", file.read(part)))
        return str(spec["class_path"])
    except Exception as error:  # a damaged file can make the readers raise anything
        raise SegbenchError(
            f"is no model.pt of a training ({error!r:.80})", where=path, remedy=remedy
        ) from error


def _text_after(key: str, pickled: bytes) -> str:
    texts = [value for _, value, _ in pickletools.genops(pickled) if isinstance(value, str)]
    return texts[texts.index(key) + 1]
