"""The cluster in a box, what it ran, and networks that are slow enough to be disturbed."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pandas as pd
import pytest
import yaml
from tiny_project import ROOT, Project

CLUSTER = str(ROOT / "tools" / "slurm-cluster")

SLOW_NETWORK = '''
import os
import signal
import time

import numpy as np
from toy_network import Toy


class Slow(Toy):
    """A toy that sleeps in each step of its training, uses memory, or fails; its weights are the same.

    `limit` is a time limit in steps: after as many, each job gets SLURM's signal before the end.
    """

    def __init__(self, view, in_channels, loss=None, seconds=0.1, megabytes=0, fails=False, limit=0):
        super().__init__(view, in_channels, loss)
        self.seconds, self.fails, self.left = seconds, fails, limit
        self.ballast = np.ones(megabytes * 2**17)

    def losses(self, images, targets):
        time.sleep(self.seconds)
        self.left -= 1
        if self.left == 0:
            os.kill(os.getpid(), signal.SIGUSR1)
        losses = super().losses(images, targets)
        return {name: loss * float("nan") for name, loss in losses.items()} if self.fails else losses
'''

# Snakemake's executor waits 10 s longer after each look that found nothing new; tests have no time for that.
IMPATIENT_SNAKEMAKE = """
import signal
import sys
from snakemake.cli import main
from snakemake_executor_plugin_slurm import Executor

signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background job would ignore it
Executor.next_seconds_between_status_checks = property(lambda self: 1, lambda self, value: None)
sys.exit(main())
"""


@contextmanager
def cluster(*options: str) -> Iterator[None]:
    """A running cluster; skips the test where none can be brought up."""
    if os.geteuid() != 0:
        pytest.skip("a SLURM cluster in a box needs root")
    if shutil.which("slurmctld") is None:
        pytest.skip("SLURM is not installed (as root: tools/slurm-cluster install)")
    started = subprocess.run([CLUSTER, "start", *options], capture_output=True, text=True, check=False)
    if started.returncode:
        pytest.skip(f"no SLURM cluster: {started.stderr.strip()}")
    try:
        yield
    finally:
        subprocess.run([CLUSTER, "stop"], check=True)


def control(*command: str) -> None:
    """`tools/slurm-cluster COMMAND...`"""
    subprocess.run([CLUSTER, *command], check=True)


def jobs() -> pd.DataFrame:
    """All jobs since the start of the cluster, in their order."""
    fields = {
        "id": "JobID",
        "state": "State",
        "partition": "Partition",
        "memory": "MinMemory",
        "limit": "TimeLimit",
        "gpus": "tres-per-job",
        "node": "NodeList",
        "started": "StartTime",
        "ended": "EndTime",
        "comment": "Comment",
    }
    form = ",".join(f"{field}:100" for field in fields.values())
    command = ["squeue", "--states=all", "--noheader", "--sort=i", f"--Format={form}"]
    lines = subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()
    rows = [[line[i : i + 100].strip() for i in range(0, 100 * len(fields), 100)] for line in lines]
    return pd.DataFrame(rows, columns=list(fields))


def trainings(model: str, seed: int = 0) -> pd.DataFrame:
    """The jobs that were submitted to train a network on the toy dataset."""
    found = jobs()
    return found[found.comment == f"rule_train_wildcards_toy_{model}_seed{seed}"]


def wait_until(condition: Callable[[], object], seconds: float = 900) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "did not happen in time"
        time.sleep(0.2)


def add_slow_network(project: Project, name: str, iterations: int = 40, **options: object) -> None:
    """A network of this name."""
    (project.root / "slow_network.py").write_text(SLOW_NETWORK)
    entry = {
        "title": name,
        "class": "slow_network:Slow",
        "tasks": ["semantic"],
        "options": options,
        "card": "A toy, for tests.",
        "recipes": {"demo": {"iterations": iterations, "batch_size": 1}},
    }
    (project.root / f"config/models/{name}.yaml").write_text(yaml.safe_dump(entry))


def submit(project: Project, *arguments: str) -> subprocess.Popen[str]:
    """Start Snakemake with the profile for SLURM; its messages go to the end of `log`."""
    command = [sys.executable, "-c", IMPATIENT_SNAKEMAKE, "--configfile", "tiny.yaml"]
    command += ["--profile", "profiles/slurm", "--slurm-init-seconds-before-status-checks", "1"]
    command += ["--max-jobs-per-timespan", "100/1s", *arguments]
    with (project.root / "log").open("a") as log:
        return subprocess.Popen(command, cwd=project.root, env=project.environment, stdout=log, stderr=log)


def iterations(cell: Path) -> int:
    """How far a training has come."""
    history = cell / "history.partial.csv"
    return max(0, len(history.read_text().splitlines()) - 1) if history.exists() else 0


def training_process(cell: Path) -> int | None:
    """Process id, on this machine, of the training of a cell."""
    for process in Path("/proc").glob("[0-9]*"):
        try:
            words = (process / "cmdline").read_bytes().decode().split("\0")
        except OSError:
            continue
        if "train" in words and str(cell).endswith(
            words[words.index("--out") + 1] if "--out" in words else "\n"
        ):
            return int(process.name)
    return None


def finish(project: Project, call: subprocess.Popen[str]) -> int:
    status = call.wait(timeout=1200)
    print((project.root / "log").read_text()[-5000:])
    return status


def cell(project: Project, run: str, model: str) -> Path:
    return project.root / f"results/{run}/cells/toy/{model}/seed0"


def digest(project: Project, run: str, model: str) -> str:
    return json.loads((cell(project, run, model) / "training.json").read_text())["weights_digest"]


def reach(project: Project, run: str, model: str, iteration: int) -> None:
    wait_until(lambda: iterations(cell(project, run, model)) >= iteration)


def running_job(model: str) -> str:
    """Id of the job that trains it."""
    table = trainings(model)
    return table[table.state == "RUNNING"].id.item()


def assert_same_training(
    project: Project, one: tuple[str, str], other: tuple[str, str], iterations: int = 40
) -> None:
    """Two cells (run, network) went through all iterations once, and ended in the same weights."""
    for run, model in (one, other):
        history = pd.read_csv(cell(project, run, model) / "history.csv")
        assert list(history.iteration) == list(range(1, iterations + 1))
    assert digest(project, *one) == digest(project, *other)


def went_on_after(project: Project, run: str, model: str) -> list[int]:
    """The iterations from which its attempts went on."""
    log = (project.root / f"results/{run}/logs/train/toy/{model}-seed0.log").read_text()
    return [int(number) for number in re.findall(r"continuing after iteration (\d+)", log)]


def stops(project: Project, model: str) -> list[tuple[str, int]]:
    """Why its failed attempts stopped and after which iteration, as far as they had time to say so."""
    folder = project.root / f"results/slurm-logs/rule_train/toy_{model}_seed0"
    logs = "".join(path.read_text() for path in sorted(folder.glob("*.log"), key=lambda path: int(path.stem)))
    found = re.findall(r"^[\d:]+ (.+): stopped after iteration (\d+)", logs, re.MULTILINE)
    return [(reason, int(number)) for reason, number in found]
