"""Find the variable with the mask in a MATLAB file."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from scipy.io import loadmat

_SIDE = 8
"""Smallest side of an array that may be a mask."""
_LARGEST = 200_000_000
_LIKELY = ("inst_map", "seg", "label", "mask", "gt", "map")


def mask_variables(path: Path) -> list[str]:
    """Return the variables, and fields of structures (`a.b`), that hold a map; likely ones first.

    Files that SciPy cannot read have none.
    """
    if path.stat().st_size > _LARGEST:
        return []
    try:
        content = loadmat(path)
    except Exception:  # SciPy raises many types for damaged files and newer versions
        return []
    found = [name for key, value in content.items() if not key.startswith("__") for name in _maps(key, value)]
    return sorted(found, key=lambda name: next((k for k, w in enumerate(_LIKELY) if w in name.lower()), 99))


def _maps(name: str, value: Any) -> Iterator[str]:
    if not isinstance(value, np.ndarray):
        return
    if value.dtype.names and value.size == 1:
        for part in value.dtype.names:
            yield from _maps(f"{name}.{part}", value.reshape(-1)[0][part])
    elif value.ndim == 2 and value.dtype.kind in "biuf" and min(value.shape) >= _SIDE:
        yield name
