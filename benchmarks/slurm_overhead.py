"""What Snakemake's SLURM executor costs a job: until its command starts, and from its end until that is seen.

    tools/slurm-cluster start; python benchmarks/slurm_overhead.py; tools/slurm-cluster stop

One job at a time, nothing else in the queue: with others, the end of any of them shortens the wait.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

SNAKEFILE = """
rule job:
    output: "times"
    resources: mem_mb=500, runtime=10
    shell: "date +%s.%N > {output}; sleep {config[seconds]}; date +%s.%N >> {output}"
"""


def measure(interval: int, seconds: int, **environment: str) -> tuple[float, float]:
    """Seconds from the submission to the command's start, and from its end to Snakemake's knowing it."""
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "Snakefile").write_text(SNAKEFILE)
        command = [sys.executable, "-m", "snakemake", "--executor", "slurm", "--jobs", "1", "--config"]
        command += [f"seconds={seconds}", "--slurm-status-command", "squeue"]
        command += ["--slurm-init-seconds-before-status-checks", str(interval)]
        call = subprocess.Popen(
            command,
            cwd=folder,
            env=os.environ | environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        assert call.stdout
        moments = {}
        for line in call.stdout:
            for word in ("has been submitted", "Finished jobid"):
                if word in line:
                    moments[word] = time.time()
        assert call.wait() == 0
        start, end = map(float, (Path(folder) / "times").read_text().split())
        return start - moments["has been submitted"], moments["Finished jobid"] - end


def main() -> None:
    print("| first interval | byte code | command takes | submitted → starts | ended → seen |")
    print("| ---: | --- | ---: | ---: | ---: |")
    for interval, seconds in ((1, 0), (10, 0), (40, 0), (10, 60)):
        before, after = measure(interval, seconds)
        print(f"| {interval} s | kept | {seconds} s | {before:.1f} s | {after:.1f} s |", flush=True)
    # every start of Python compiles all of Snakemake again
    before, after = measure(1, 0, PYTHONDONTWRITEBYTECODE="1", PYTHONPYCACHEPREFIX=tempfile.mkdtemp())
    print(f"| 1 s | not kept | 0 s | {before:.1f} s | {after:.1f} s |")


if __name__ == "__main__":
    main()
