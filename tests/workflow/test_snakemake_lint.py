from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_snakemake_finds_nothing_to_mend() -> None:
    """`snakemake --lint` asks for an environment a rule; all rules run in the one of the lock file."""
    command = [sys.executable, "-m", "snakemake", "--lint"]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    lints = {line.strip() for line in result.stderr.splitlines() if line.startswith("    * ")}
    assert lints == {"* Specify a conda environment or container for each rule.:"}
