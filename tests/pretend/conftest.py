"""The pretend accelerator as a fixture."""

from __future__ import annotations

import pretend_accelerator
import pytest
import torch
from trained import run, torch_settings  # noqa: F401


@pytest.fixture
def device(monkeypatch: pytest.MonkeyPatch) -> torch.device:
    """The device `pretend:0`."""
    if not pretend_accelerator.AVAILABLE:
        pytest.skip(f"torch {torch.__version__} has no hook for devices in Python")
    pretend_accelerator.register()
    monkeypatch.setattr(torch, "Generator", pretend_accelerator.Generator)
    for name in ("pin_memory", "is_pinned"):
        monkeypatch.setattr(torch.Tensor, name, getattr(pretend_accelerator, name))
    return torch.device(pretend_accelerator.NAME, 0)
