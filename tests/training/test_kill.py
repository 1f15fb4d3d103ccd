"""Kill real processes."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from fork_server import CONTEXT
from tiny_networks import make_spec

from segbench.jobs.state import EX_TEMPFAIL
from segbench.training.runner.train import train

ITERATIONS = 150
KILLS = 20
# the state of the training stays until a prediction shows that its end was seen
RESULTS = ["best.pt", "checkpoint.pt", "history.csv", "history.partial.csv", "model.pt", "training.json"]
SPEC = make_spec(
    "Normalised",
    iterations=ITERATIONS,
    validate_every=40,
    select="best",
    augment={"crop": [32, 32], "scale": [0.5, 2.0], "rotate90": True, "color_jitter": 0.4},
)
CODE = """
import sys
from pathlib import Path
from segbench.contract.cell import CellSpec
from segbench.training.runner.train import train
train(Path(sys.argv[1]), CellSpec.model_validate_json(sys.argv[2]), Path(sys.argv[3]),
      threads=1, workers=int(sys.argv[4]), checkpoint_every=0.05)
"""


def start(root: Path, out: Path, workers: int = 0) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-c", CODE, str(root), SPEC.model_dump_json(), str(out), str(workers)]
    path = os.pathsep.join([str(Path(__file__).parents[1]), os.environ.get("PYTHONPATH", "")])
    return subprocess.Popen(command, env={**os.environ, "PYTHONPATH": path}, start_new_session=True)


def rows(out: Path) -> int:
    try:
        return max(0, (out / "history.partial.csv").read_bytes().count(b"\n") - 1)
    except FileNotFoundError:
        return 0


def wait_for(process: subprocess.Popen[bytes], out: Path, iteration: int) -> None:
    while rows(out) < iteration and process.poll() is None:
        time.sleep(0.002)
    assert process.poll() is None, "ended before it was to be killed"


@pytest.mark.slow
def test_twenty_kills_at_random_moments_end_in_the_same_bits(run, shapes: Path, tmp_path: Path) -> None:
    """Kill each process of a chain some time after its start: while it imports, resumes, trains or saves.

    The trainings are forked from a process that has imported what they need, so that they start at once.
    """
    seed = random.randrange(10**6)
    print(f"seed {seed}")
    draw = random.Random(seed)
    whole = run("whole", SPEC)
    out = tmp_path / "killed"
    kills = 0
    while kills < KILLS:
        process = CONTEXT.Process(target=train_here, args=(shapes, out))
        began = time.monotonic()
        process.start()
        process.join(draw.uniform(0, 0.6))
        if process.exitcode is None:
            process.kill()
            process.join()
            kills += 1
            continue
        print(f"done after {kills} kills, {time.monotonic() - began:.2f} s")
        check(out, whole)
        shutil.rmtree(out)
    process = CONTEXT.Process(target=train_here, args=(shapes, out))
    process.start()
    process.join(120)
    check(out, whole)


def train_here(root: Path, out: Path) -> None:
    train(root, SPEC, out, threads=1, checkpoint_every=0.05)


def check(out: Path, whole: dict[str, Any]) -> None:
    result = json.loads((out / "training.json").read_text())
    assert result["weights_digest"] == whole["weights_digest"]
    assert result["selected_iteration"] == whole["selected_iteration"]
    iterations = [line.split(",")[0] for line in (out / "history.csv").read_text().splitlines()[1:]]
    assert iterations == [str(i) for i in range(1, ITERATIONS + 1)]
    best = f"best-{whole['selected_iteration']}.pt"
    assert sorted(path.name.replace(best, "best.pt") for path in out.iterdir()) == RESULTS


@pytest.mark.slow
def test_what_an_orphan_trains_is_not_trained_twice(shapes: Path, tmp_path: Path) -> None:
    """If only the workflow is killed, its next call starts the step while the first one still runs."""
    first, second = (CONTEXT.Process(target=train_here, args=(shapes, tmp_path)) for _ in range(2))
    first.start()
    while rows(tmp_path) < 5 and first.is_alive():
        time.sleep(0.002)
    assert first.pid and first.is_alive()
    os.kill(first.pid, signal.SIGSTOP)
    second.start()
    time.sleep(1)
    assert second.is_alive()
    os.kill(first.pid, signal.SIGCONT)
    first.join(60)
    model = (tmp_path / "model.pt").stat()
    second.join(60)
    assert (first.exitcode, second.exitcode) == (0, 0)
    assert (tmp_path / "model.pt").stat() == model


@pytest.mark.slow
def test_a_signal_to_the_whole_group_ends_with_a_checkpoint(shapes: Path, tmp_path: Path) -> None:
    """Schedulers also signal the loader processes."""
    process = start(shapes, tmp_path, workers=1)
    wait_for(process, tmp_path, 10)
    os.killpg(process.pid, signal.SIGUSR1)
    assert process.wait(60) == EX_TEMPFAIL
    assert (tmp_path / "checkpoint.pt").exists() and rows(tmp_path) >= 10
