"""Run `tests/pretend` in a process of its own: torch cannot forget a device that was registered."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

FOLDER = Path(__file__).with_name("pretend")


@pytest.mark.slow
def test_networks_and_steps_on_the_pretend_accelerator() -> None:
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(FOLDER)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=FOLDER.parents[1])
    print(done.stdout)
    assert done.returncode == 0, done.stdout[-20000:] + done.stderr[-2000:]
    if not re.search(r"\d+ passed", done.stdout):
        pytest.skip(done.stdout.strip().splitlines()[-1])
