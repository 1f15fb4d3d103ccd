"""One training in two processes."""

from __future__ import annotations

import csv
import functools
import logging
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist
from fork_server import CONTEXT
from network_tester import batch, make_view
from tiny_networks import make_spec

from segbench.errors import OutOfMemory, SegbenchError
from segbench.jobs.state import EX_TEMPFAIL, Stopped
from segbench.models.saved import load_model
from segbench.models.unet import UNet
from segbench.training import parallel
from segbench.training.gradients import add_gradients, parts_of_step

# no padding, no void, no batch statistics: then a mean over the batch is the mean of its parts
PLAIN = {
    "batch_size": 5,
    "augment": {"crop": [24, 24]},
    "optimizer": {"name": "sgd", "lr": 0.05},
    "validate_every": 4,
    "precision": "fp32",
}


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return load_model(folder / "model.pt", torch.device("cpu")).network.state_dict()


def rows(folder: Path) -> list[dict[str, str]]:
    with (folder / "history.csv").open() as file:
        return list(csv.DictReader(file))


@pytest.mark.parametrize("accumulate", [1, 2])
def test_two_processes_train_as_one_does(run, tmp_path: Path, accumulate: int) -> None:
    """The parts have unequal sizes: 3 + 2 images, or 2 + 1 + 1 + 1."""
    run("one", make_spec(**PLAIN))
    result = run("two", make_spec(**PLAIN, gpus=2, accumulate=accumulate))
    assert result["gpus"] == 2 and result["images"] == 8 * 5
    one, two = weights(tmp_path / "one"), weights(tmp_path / "two")
    for name in one:
        assert torch.allclose(one[name], two[name], atol=1e-6), name
    for a, b in zip(rows(tmp_path / "one"), rows(tmp_path / "two"), strict=True):
        assert float(a["total"]) == pytest.approx(float(b["total"]), rel=2e-3)
        assert float(a["grad_norm"]) == pytest.approx(float(b["grad_norm"]), rel=2e-2)
        assert (a["lr"], a["epoch"]) == (b["lr"], b["epoch"])
    validation = [float(rows(tmp_path / f)[-1]["validation"]) for f in ("one", "two")]
    assert validation[0] == pytest.approx(validation[1], rel=2e-3)
    names = sorted(p.name for p in (tmp_path / "two").iterdir())
    assert names == ["checkpoint.pt", "history.csv", "history.partial.csv", "model.pt", "training.json"]


def test_accumulated_parts_are_exchanged_once_and_statistics_are_shared(tmp_path: Path) -> None:
    """Two processes with 3 parts each: one exchange of gradients, and the mean of the statistics."""
    results = CONTEXT.Queue()
    address = f"file://{tmp_path}/meeting"
    processes = [CONTEXT.Process(target=exchange, args=(rank, address, results)) for rank in (0, 1)]
    for process in processes:
        process.start()
    found = dict(results.get(timeout=120) for _ in processes)
    for process in processes:
        process.join()
    assert found[0]["exchanges"] == found[1]["exchanges"] == 1
    own = [found[rank]["before"] for rank in (0, 1)]
    assert own[0] != own[1]
    mean = [(a + b) / 2 for a, b in zip(*own)]
    assert found[0]["after"] == found[1]["after"] == pytest.approx(mean)


def exchange(rank: int, address: str, results: Any) -> None:
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=address, rank=rank, world_size=2)
    torch.manual_seed(0)
    network = UNet(make_view("semantic"), 3, widths=[2, 2, 2, 2, 2], backbone=None)
    compute, count = parallel.losses_in_step(network), 0

    def counted(_: Any, bucket):  # type: ignore[no-untyped-def]  # torch refuses annotations as text
        nonlocal count
        count += bucket.is_last()
        done: torch.futures.Future[torch.Tensor] = torch.futures.Future()
        done.set_result(bucket.buffer())
        return done

    compute.register_comm_hook(None, counted)
    images, targets = batch("semantic", 3, (32, 32))
    batches = [(images[[i]] + rank, [targets[i]]) for i in range(3)]
    parts = parts_of_step(6, 3, seed=1)
    alone = functools.partial(parallel.without_exchange, compute)
    add_gradients(network, compute, batches, parts, network.losses, alone)
    norm = next(m for m in network.modules() if isinstance(m, torch.nn.BatchNorm2d))
    before = norm.running_mean.tolist()
    parallel.average_statistics(network)
    results.put((rank, {"exchanges": count, "before": before, "after": norm.running_mean.tolist()}))
    dist.destroy_process_group()


def test_a_signal_stops_all_and_the_next_call_ends_in_the_same_bits(run, tmp_path: Path) -> None:
    """Only the second process is told to stop."""
    (tmp_path / "told").touch()
    options = {"what": "stop", "rank": 1}
    recipe = {"gpus": 2, "validate_every": 3, "select": "best"}
    whole = run("whole", make_spec("Interrupted", options={**options, "once": f"{tmp_path}/told"}, **recipe))
    spec = make_spec("Interrupted", options={**options, "once": f"{tmp_path}/once"}, **recipe)
    with pytest.raises(Stopped) as stop:
        run("cut", spec)
    assert stop.value.code == EX_TEMPFAIL and stop.value.at_limit  # SIGUSR1
    names = sorted(p.name for p in (tmp_path / "cut").iterdir())
    assert names == ["best-3.pt", "checkpoint.pt", "history.partial.csv"]
    assert len((tmp_path / "cut" / "history.partial.csv").read_text().splitlines()) == 1 + 4
    assert run("cut", spec)["weights_digest"] == whole["weights_digest"]
    assert [r["iteration"] for r in rows(tmp_path / "cut")] == [str(i) for i in range(1, 9)]


def test_the_signal_of_a_scheduler_reaches_the_processes(run, tmp_path: Path) -> None:
    options = {"what": "stop all", "once": f"{tmp_path}/once"}
    with pytest.raises(Stopped) as stop:
        run("a", make_spec("Interrupted", options=options, gpus=2, iterations=500))
    assert stop.value.code == EX_TEMPFAIL and not stop.value.at_limit
    assert (tmp_path / "a" / "checkpoint.pt").exists()


GROUP = """
import logging, os, sys, time
from pathlib import Path
import torch
from segbench.jobs.state import Stopped
from segbench.training import parallel
from segbench.training.runner.processes import run_on
from segbench.training.runner.signals import StopSignals, handling


def step(device, folder):
    stop = StopSignals()
    Path(folder, f"started-{parallel.rank()}").touch()
    time.sleep(0.5)  # told to stop before it can handle that
    with handling(stop.receive):
        while not stop.received:
            time.sleep(0.01)
        logging.getLogger("segbench").info("%s of %d", stop.received, parallel.size())
    raise Stopped("told to stop", at_limit=False)


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO)
    run_on([torch.device("cpu")] * 2, step, sys.argv[1])
"""


@pytest.mark.slow
def test_signals_to_the_whole_group_reach_a_step_that_has_just_begun(tmp_path: Path) -> None:
    """SLURM signals all processes of a job. The messages of the step reach the log."""
    (tmp_path / "group.py").write_text(GROUP)
    process = subprocess.Popen(
        [sys.executable, tmp_path / "group.py", tmp_path],
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    while not list(tmp_path.glob("started-*")) and process.poll() is None:
        time.sleep(0.01)
    os.killpg(process.pid, signal.SIGUSR1)
    os.killpg(process.pid, signal.SIGTERM)
    _, said = process.communicate(timeout=60)
    assert process.returncode == EX_TEMPFAIL, said
    assert "INFO:segbench:SIGTERM of 2" in said.splitlines()


def is_running(pid: int) -> bool:
    try:
        return (
            Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2][0] != "Z"
        )  # nobody may have asked for it
    except OSError:
        return False


@pytest.mark.slow
def test_processes_end_with_a_parent_that_is_killed(tmp_path: Path) -> None:
    (tmp_path / "group.py").write_text(
        GROUP.replace("time.sleep(0.5)", "os.write(1, b'%d\\n' % os.getpid())")
    )
    process = subprocess.Popen(
        [sys.executable, "-u", tmp_path / "group.py", tmp_path], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout
    pids = [int(process.stdout.readline()) for _ in range(2)]
    process.kill()
    process.wait()
    deadline = time.monotonic() + 10
    while any(map(is_running, pids)):
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_threads_and_gradients_of_the_parent_do_not_matter(run) -> None:
    """A process forked after a backward pass could not make another one."""
    torch.ones(3, requires_grad=True).sum().backward()
    assert run("a", make_spec(gpus=2, iterations=2))["gpus"] == 2


def test_errors_keep_their_kind(run) -> None:
    with pytest.raises(OutOfMemory, match="out of memory"):
        run("a", make_spec("Hungry", gpus=2))
    with pytest.raises(SegbenchError, match="loss_broken is nan"):
        run("b", make_spec("Diverging", gpus=2))


def test_a_process_that_the_kernel_kills_had_too_little_memory(run, tmp_path: Path) -> None:
    options = {"what": "kill", "rank": 1, "once": f"{tmp_path}/once"}
    with pytest.raises(OutOfMemory, match="was killed, probably because the memory is full"):
        run("a", make_spec("Interrupted", options=options, gpus=2))


def test_one_failing_process_ends_the_training_with_its_reason(run, tmp_path: Path) -> None:
    options = {"what": "fail", "rank": 1, "once": f"{tmp_path}/once"}
    with pytest.raises(SegbenchError, match=r"image.png: is torn"):
        run("a", make_spec("Interrupted", options=options, gpus=2))


def test_what_a_step_takes_is_logged(run, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    run("a", make_spec(batch_size=6, accumulate=2, iterations=1))
    assert "6 images a step, in 1 x 2 parts (processes x accumulate); learning rate 0.01" in caplog.text


def test_more_devices_than_images_are_refused() -> None:
    with pytest.raises(ValueError, match=r"accumulate \(2\) x gpus \(3\) is more than batch_size \(4\)"):
        make_spec(batch_size=4, accumulate=2, gpus=3)
