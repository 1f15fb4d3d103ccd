"""Fixtures shared by all tests."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

MIRROR = Path(os.environ.get("SEGBENCH_MIRROR", Path(__file__).parents[2] / "shared" / "mirror"))


@pytest.fixture(scope="session")
def mirror() -> Path:
    """Folder with real archives, cut small; set SEGBENCH_MIRROR to use another."""
    if not (MIRROR / "SHA256SUMS").exists():
        pytest.skip(f"no data mirror at {MIRROR} (set SEGBENCH_MIRROR)")
    return MIRROR
