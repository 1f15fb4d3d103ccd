"""The pretend accelerator as a fixture. `tests/test_pretend.py` runs this folder in a process of its own."""

from __future__ import annotations

from pathlib import Path

import pretend_accelerator
import pytest
import torch
from trained import run, torch_settings  # noqa: F401

FOLDER = Path(__file__).parent


def pytest_ignore_collect(config: pytest.Config) -> bool | None:
    """Collect this folder only where it is named: other tests must not see its device."""
    named = (Path(config.invocation_params.dir, argument.split("::")[0]) for argument in config.args)
    return None if any(FOLDER in (path, *path.parents) for path in named) else True


@pytest.fixture
def device(monkeypatch: pytest.MonkeyPatch) -> torch.device:
    """The device `pretend:0`."""
    if not pretend_accelerator.AVAILABLE:
        pytest.skip(f"torch {torch.__version__} has no hook for devices in Python")
    pretend_accelerator.register()
    monkeypatch.setattr(torch, "Generator", pretend_accelerator.Generator)
    for name in ("pin_memory", "is_pinned", "record_stream"):
        monkeypatch.setattr(torch.Tensor, name, getattr(pretend_accelerator, name))
    return torch.device(pretend_accelerator.NAME, 0)
