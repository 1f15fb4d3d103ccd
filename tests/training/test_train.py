from __future__ import annotations

import csv
import errno
import fcntl
import logging
import os
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny_networks import make_spec

from segbench.data.dataset import Dataset
from segbench.errors import OutOfMemory, SegbenchError
from segbench.files import UNFINISHED, read_json
from segbench.jobs.state import EX_TEMPFAIL, Stopped, recorded
from segbench.models.saved import load_model
from segbench.training.runner import checkpoint
from segbench.training.runner import train as module
from segbench.training.runner.checkpoint import remove_checkpoint
from segbench.training.runner.signals import StopSignals
from segbench.training.runner.train import Training, memory_remedy, train

CPU = torch.device("cpu")
RESULTS = {"history.csv", "model.pt", "training.json"}
TO_GO_ON = {"checkpoint.pt", "history.partial.csv"}


def history(folder: Path, name: str = "history.csv") -> list[dict[str, str]]:
    with (folder / name).open() as file:
        return list(csv.DictReader(file))


def timeless(rows: list[dict[str, str]]) -> list[dict[str, str]]:
    return [{k: v for k, v in row.items() if k not in ("seconds", "images_per_second")} for row in rows]


def test_a_training_learns_and_leaves_its_results(run, tmp_path: Path) -> None:
    spec = make_spec(
        iterations=60, optimizer={"lr": 0.03}, schedule={"name": "cosine", "warmup_iterations": 4}
    )
    result = run("a", spec)
    rows = history(tmp_path / "a")
    assert [int(row["iteration"]) for row in rows] == list(range(1, 61))
    assert float(rows[-1]["total"]) < 0.5 * float(rows[0]["total"])
    assert float(rows[-1]["epoch"]) == 20 and float(rows[4]["lr"]) > float(rows[0]["lr"])
    assert rows[0]["total"] == rows[0]["loss_cross_entropy"]
    assert {p.name for p in (tmp_path / "a").iterdir()} == RESULTS | TO_GO_ON
    assert result["iterations"] == 60 and result["images"] == 240 and result["seconds"] > 0
    assert result["parameters"] == sum(
        p.numel() for p in load_model(tmp_path / "a" / "model.pt", CPU).network.parameters()
    )
    assert {"gpu", "driver", "cuda", "slurm_job", "git_commit"} <= set(result)
    for key in ("node", "processor", "threads", "device", "versions", "peak_memory", "images_per_second"):
        assert result[key]
    assert len(result["sources"]["data"]) == 64 and result["sources"]["code"]


def test_same_seed_same_bits(run, tmp_path: Path) -> None:
    spec = make_spec("Normalised", augment={"crop": [24, 24], "scale": [0.5, 2], "color_jitter": 0.3})
    first, second = run("a", spec), run("b", spec)
    assert first["weights_digest"] == second["weights_digest"]
    assert timeless(history(tmp_path / "a")) == timeless(history(tmp_path / "b"))
    assert first["weights_digest"] != run("c", spec.model_copy(update={"seed": 2}))["weights_digest"]


def test_workers_do_not_change_the_weights(run) -> None:
    spec = make_spec(
        options={"dropout": 0.3}, augment={"crop": [24, 24], "rotate90": True, "color_jitter": 0.3}
    )
    assert run("a", spec, workers=0)["weights_digest"] == run("b", spec, workers=2)["weights_digest"]


def test_checkpoints_do_not_change_the_weights(run) -> None:
    spec = make_spec(options={"dropout": 0.3})
    assert run("a", spec)["weights_digest"] == run("b", spec, checkpoint_every=0)["weights_digest"]


def test_accumulated_batches_are_one_large_batch(run, tmp_path: Path) -> None:
    """The data has no padding and no void, and the network no batch statistics."""
    augment = {"crop": [24, 24], "scale": [1.0, 1.0]}
    run("a", make_spec(batch_size=6, augment=augment, optimizer={"name": "sgd", "lr": 0.01}))
    run("b", make_spec(batch_size=6, augment=augment, optimizer={"name": "sgd", "lr": 0.01}, accumulate=3))
    one, many = (load_model(tmp_path / f / "model.pt", CPU).network.state_dict() for f in "ab")
    for name in one:
        assert torch.allclose(one[name], many[name], atol=2e-3), name
    for a, b in zip(history(tmp_path / "a"), history(tmp_path / "b")):
        assert float(a["total"]) == pytest.approx(float(b["total"]), rel=2e-2)


def test_shares_of_uneven_parts(shapes: Path, tmp_path: Path) -> None:
    """Five images in two parts: the part of three has weight 3/5, the part of two 2/5."""
    spec = make_spec(batch_size=5, accumulate=2, optimizer={"name": "sgd", "lr": 1e-9}, clip_norm=1e9)
    training = Training(shapes, spec, None, CPU)
    seen: list[tuple[int, float]] = []
    compute = training._losses

    def losses(kind: Any, images: torch.Tensor, targets: list[Any]) -> dict[str, torch.Tensor]:
        found = compute(kind, images, targets)
        if torch.is_grad_enabled():
            seen.append((len(targets), sum(found.values()).item()))
        return found

    training._losses = losses  # type: ignore[method-assign]
    items = [
        (torch.rand(n, 3, 8, 8), [{"semantic": torch.ones(8, 8, dtype=torch.int64)}] * n) for n in (3, 2)
    ]
    row = training.step(iter(items))
    assert row["total"] == pytest.approx(sum(n * value for n, value in seen) / 5, rel=1e-6)


def test_clipping_bounds_the_step(shapes: Path, tmp_path: Path) -> None:
    spec = make_spec(optimizer={"name": "sgd", "lr": 1.0, "momentum": 0, "weight_decay": 0}, clip_norm=1e-3)
    training = Training(shapes, spec, None, CPU)
    before = [p.clone() for p in training.network.parameters()]
    item = (torch.rand(4, 3, 8, 8), [{"semantic": torch.ones(8, 8, dtype=torch.int64)}] * 4)
    row = training.step(iter([item]))
    moved = torch.stack([(p - b).norm() for p, b in zip(training.network.parameters(), before)]).norm()
    assert row["grad_norm"] > 1e-3 and moved.item() == pytest.approx(1e-3, rel=1e-2)


@pytest.mark.parametrize("gpus", [1, 2])
def test_images_kept_in_memory_end_in_the_same_weights(
    run, tmp_path: Path, caplog: pytest.LogCaptureFixture, gpus: int
) -> None:
    caplog.set_level(logging.INFO)
    spec = make_spec("Normalised", iterations=4, gpus=gpus)
    plain, kept = (run(name, spec, cache=name) for name in ("none", "ram"))
    assert caplog.text.count("cache: ram keeps 12 images of train decoded, in ") == 1
    assert kept["weights_digest"] == plain["weights_digest"]
    assert {p.name for p in (tmp_path / "ram").iterdir()} == {p.name for p in (tmp_path / "none").iterdir()}


def test_frozen_backbone_does_not_move(run, shapes: Path, tmp_path: Path) -> None:
    spec = make_spec("Normalised", optimizer={"lr": 0.1, "backbone_lr_factor": 0})
    start = Training(shapes, spec, None, CPU).network.state_dict()
    run("a", spec)
    end = load_model(tmp_path / "a" / "model.pt", CPU).network.state_dict()
    for name in start:
        assert torch.equal(start[name], end[name]) == name.startswith("backbone"), name


def test_bf16_trains(run, tmp_path: Path) -> None:
    result = run("a", make_spec("Normalised", iterations=30, precision="bf16", optimizer={"lr": 0.03}))
    rows = history(tmp_path / "a")
    assert result["precision"] == "bf16" and float(rows[-1]["total"]) < float(rows[0]["total"])
    weights = load_model(tmp_path / "a" / "model.pt", CPU).network.state_dict()
    assert weights["head.weight"].dtype == torch.float32


def test_validation_and_best_weights(run, tmp_path: Path) -> None:
    """With a rate that destroys what was learnt, the best weights are not the last."""
    recipe = {"iterations": 12, "validate_every": 4, "schedule": {"name": "constant"}}
    spec = make_spec(optimizer={"lr": 0.5}, select="best", **recipe)
    result = run("a", spec)
    rows = history(tmp_path / "a")
    losses = {int(row["iteration"]): float(row["validation"]) for row in rows if row["validation"]}
    assert list(losses) == [4, 8, 12]
    assert result["selected_iteration"] == min(losses, key=losses.__getitem__)
    last = run("b", spec.model_copy(update={"recipe": spec.recipe.model_copy(update={"select": "last"})}))
    assert last["selected_iteration"] == 12
    same = last["weights_digest"] == result["weights_digest"]
    assert same == (result["selected_iteration"] == 12)


def test_validation_does_not_disturb_the_training(run) -> None:
    plain = run("a", make_spec(options={"dropout": 0.3}))
    validated = run("b", make_spec(options={"dropout": 0.3}, validate_every=2))
    assert plain["weights_digest"] == validated["weights_digest"]


def test_the_split_that_is_scored_never_selects(shapes: Path, tmp_path: Path, caplog, monkeypatch) -> None:
    monkeypatch.setattr(type(Dataset(shapes).info), "validation_split", None)
    train(shapes, make_spec(validate_every=2, select="best"), tmp_path, threads=1)
    assert "no validation split" in caplog.text
    assert all(not row["validation"] for row in history(tmp_path))


def test_loss_that_is_not_a_number(run, tmp_path: Path) -> None:
    with pytest.raises(SegbenchError, match=r"loss_broken is nan.* at iteration 3 of 8") as caught:
        run("a", make_spec("Diverging"))
    assert "lr" in str(caught.value.remedy)
    assert not (tmp_path / "a" / "model.pt").exists()


@pytest.mark.parametrize(
    ("recipe", "remedy"),
    [
        ({"batch_size": 16}, "set accumulate: 2 (8 instead of 16 images in a pass"),
        ({"batch_size": 12, "accumulate": 2, "gpus": 2}, "set accumulate: 3 (2 instead of 3 images"),
        ({"batch_size": 2, "accumulate": 2}, "use a smaller augment.crop, more gpus"),
    ],
)
def test_the_remedy_for_too_little_memory_names_an_accumulate(recipe: dict, remedy: str) -> None:
    spec = make_spec(**recipe)
    assert memory_remedy(spec.recipe).startswith(remedy)


def test_out_of_memory_is_recognised(run) -> None:
    with pytest.raises(OutOfMemory, match="out of memory"):
        run("a", make_spec("Hungry"))


class FullDisk:
    """A file that takes `room` bytes."""

    def __init__(self, file: Any, room: int) -> None:
        self._file, self._room = file, room

    def write(self, data: Any) -> int:
        self._room -= len(data)
        if self._room < 0:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return self._file.write(data)


def test_full_disk_at_a_checkpoint_keeps_the_one_before(run, tmp_path: Path, monkeypatch, caplog) -> None:
    caplog.set_level(logging.INFO)
    whole = run("a", make_spec(options={"dropout": 0.3}))
    save, calls = torch.save, []

    def third_fails(state: Any, file: Any) -> None:
        calls.append(1)
        save(state, FullDisk(file, 3000) if len(calls) == 3 else file)

    folder = tmp_path / "b"
    with monkeypatch.context() as patch:
        patch.setattr(torch, "save", third_fails)
        with pytest.raises(SystemExit) as stop, recorded("train", folder, None):
            run("b", make_spec(options={"dropout": 0.3}), checkpoint_every=0)
    assert stop.value.code == EX_TEMPFAIL
    assert "b: the disk is full\n  remedy: free some space" in caplog.text
    state = read_json(folder / "state.json")
    assert (state["state"], state["reason"]) == ("interrupted", "the disk is full")
    names = sorted(p.name for p in folder.iterdir())
    assert names == ["checkpoint.pt", "history.partial.csv", "state.json"]
    assert run("b", make_spec(options={"dropout": 0.3}))["weights_digest"] == whole["weights_digest"]
    assert "continuing after iteration 2" in caplog.text


@pytest.mark.skipif(os.geteuid() != 0, reason="mounts a small disk, as root")
def test_a_disk_that_is_really_full(shapes: Path, tmp_path: Path) -> None:
    """The disk is too small for the weights: no partial file stays, and the exit status asks to try again."""
    disk = tmp_path / "disk"
    disk.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", disk], check=False).returncode:
        pytest.skip("may not mount")
    try:
        spec = make_spec(options={"width": 2000})
        with pytest.raises(SystemExit) as stop, recorded("train", disk / "cell", None):
            train(shapes, spec, disk / "cell", threads=1, checkpoint_every=0)
        assert stop.value.code == EX_TEMPFAIL
        assert {p.name for p in (disk / "cell").iterdir()} == {"history.partial.csv", "state.json"}
    finally:
        subprocess.run(["umount", disk], check=True)


def test_the_time_limit_comes_near(run, tmp_path: Path, monkeypatch, caplog) -> None:
    """At most a tenth of the remaining time is reserved, so that a training always makes progress."""
    caplog.set_level(logging.INFO)
    spec = make_spec(options={"dropout": 0.3})
    whole = run("a", spec)
    step = Training.step
    now = 1000.0

    def minute(self: Training, batches: Any) -> dict[str, Any]:
        nonlocal now
        now += 60
        return step(self, batches)

    with monkeypatch.context() as patch:
        patch.setattr(time, "time", lambda: now)
        patch.setattr(Training, "step", minute)
        with pytest.raises(Stopped) as stop:
            run("b", spec, stop_at=1000.0 + 5 * 60)
    assert stop.value.code == EX_TEMPFAIL and stop.value.at_limit
    assert "the time limit is near: stopped after iteration 5 of 8" in caplog.text
    assert run("b", spec)["weights_digest"] == whole["weights_digest"]


def test_a_chain_of_jobs_ends_in_the_same_bits(run, tmp_path: Path) -> None:
    """The time of each job is over before it starts; it makes one step all the same."""
    spec = make_spec("Normalised", ema=0.9)
    whole = run("a", spec)
    for iteration in range(1, 8):
        with pytest.raises(Stopped, match=f"stopped after iteration {iteration} of 8") as stop:
            run("b", spec, stop_at=time.time() - 1)
        assert stop.value.at_limit
    assert run("b", spec, stop_at=time.time() - 1)["weights_digest"] == whole["weights_digest"]
    assert timeless(history(tmp_path / "b")) == timeless(history(tmp_path / "a"))


def test_a_limit_that_leaves_no_time_for_a_validation_is_an_error(run) -> None:
    spec = make_spec(validate_every=1)
    with pytest.raises(Stopped):
        run("a", spec, stop_at=time.time() - 1)
    with pytest.raises(SegbenchError, match="too short for one step with its validation") as error:
        run("a", spec, stop_at=time.time() - 1)
    assert "train:runtime" in str(error.value.remedy)


def test_a_step_needs_time_before_the_limit() -> None:
    now = time.time()
    assert StopSignals(now + 1000).received is None
    signals = StopSignals(now + 1000)
    signals.reserve(900)
    assert signals.received is None
    signals.reserve(1001)
    signals.reserve(1)
    assert signals.received == "the time limit is near" and signals.at_limit


@pytest.mark.parametrize(("number", "at_limit"), [(signal.SIGUSR1, True), (signal.SIGTERM, False)])
def test_a_signal_before_the_limit_is_told_from_one_to_end(number: signal.Signals, at_limit: bool) -> None:
    signals = StopSignals()
    assert not signals.at_limit
    signals.receive(number, None)
    assert (signals.received, signals.at_limit) == (number.name, at_limit)


def test_checkpoints_are_as_large_as_they_must_be(run, tmp_path: Path, monkeypatch) -> None:
    """The best weights are written when they change, and at the end no state of the optimizer."""
    saved: list[str] = []
    save = checkpoint.save
    monkeypatch.setattr(checkpoint, "save", lambda path, value: (saved.append(path.name), save(path, value)))
    spec = make_spec(options={"width": 64}, validate_every=4, select="best", optimizer={"name": "adamw"})
    run("a", spec, checkpoint_every=0)
    assert saved.count("checkpoint.pt") == 9 and 1 <= len([n for n in saved if n.startswith("best-")]) <= 2
    state = torch.load(tmp_path / "a" / "checkpoint.pt", weights_only=True)
    assert "optimizer" not in state and isinstance(state["best"], str)
    saved.clear()
    run("b", spec, checkpoint_every=1e9)
    assert saved.count("checkpoint.pt") == 1


def test_best_weights_of_another_training_are_not_used(run, tmp_path: Path) -> None:
    spec = make_spec(validate_every=8, select="best")
    whole = run("a", spec)
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "best-8.pt").write_text("of an earlier recipe, killed before its checkpoint")
    assert run("b", spec)["weights_digest"] == whole["weights_digest"]
    (tmp_path / "b" / "model.pt").unlink()
    assert run("b", spec)["weights_digest"] == whole["weights_digest"]  # reads best-8.pt
    remove_checkpoint(tmp_path / "b", whole["identity"])
    assert {p.name for p in (tmp_path / "b").iterdir()} == RESULTS


@pytest.mark.parametrize("when", [4, 6, 8])  # 6 and 8: before a validation
def test_sigterm_saves_and_the_next_call_goes_on(run, tmp_path: Path, monkeypatch, caplog, when: int) -> None:
    caplog.set_level(logging.INFO)
    spec = make_spec(options={"dropout": 0.3}, validate_every=3, select="best")
    whole = run("a", spec)
    step = Training.step

    def signalled(self: Training, batches: Any) -> dict[str, Any]:
        row = step(self, batches)
        if self.iteration == when:
            signal.raise_signal(signal.SIGTERM)
        return row

    with monkeypatch.context() as patch:
        patch.setattr(Training, "step", signalled)
        with pytest.raises(SystemExit) as stop:
            run("b", spec)
    assert stop.value.code == EX_TEMPFAIL
    assert f"SIGTERM: stopped after iteration {when}" in caplog.text
    folder = tmp_path / "b"
    assert {p.name for p in folder.iterdir() if not p.name.startswith("best-")} == TO_GO_ON
    resumed = run("b", spec)
    assert f"continuing after iteration {when}" in caplog.text
    assert resumed["weights_digest"] == whole["weights_digest"]
    assert resumed["selected_iteration"] == whole["selected_iteration"]
    assert timeless(history(folder)) == timeless(history(tmp_path / "a"))
    assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL


def interrupted(run, spec: Any) -> None:
    with pytest.raises(SystemExit):
        run("b", spec)


def test_checkpoint_of_another_recipe_is_not_used(run, tmp_path: Path, caplog) -> None:
    interrupted(run, make_spec("Signalled"))
    spec = make_spec(options={"dropout": 0.1})
    assert run("b", spec)["weights_digest"] == run("a", spec)["weights_digest"]
    assert "another recipe" in caplog.text
    assert len(history(tmp_path / "b")) == 8


@pytest.mark.parametrize("damage", [b"", b"nonsense", None])
def test_broken_checkpoint_starts_over(run, tmp_path: Path, caplog, damage: bytes | None) -> None:
    interrupted(run, make_spec("Signalled", iterations=4, batch_size=2))
    path = tmp_path / "b" / "checkpoint.pt"
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2] if damage is None else damage)
    run("b", make_spec())
    assert "checkpoint.pt: cannot be read" in caplog.text and "starts over" in caplog.text


def test_a_checkpoint_that_cannot_be_written_does_not_stop(run, tmp_path: Path, monkeypatch, caplog) -> None:
    def broken(state: Any, file: Any) -> None:
        raise RuntimeError("[enforce fail at inline_container.cc] . PytorchStreamWriter failed writing file")

    with monkeypatch.context() as patch:
        patch.setattr(torch, "save", broken)
        patch.setattr(module, "save_model", lambda path, *_: path.write_text("model"))
        run("a", make_spec(), checkpoint_every=0)
    assert "the checkpoint cannot be written" in caplog.text
    assert {p.name for p in (tmp_path / "a").iterdir()} == (RESULTS | TO_GO_ON) - {"checkpoint.pt"}


def test_a_finished_training_whose_results_were_lost_is_not_repeated(run, tmp_path: Path, caplog) -> None:
    """A killed workflow deletes results, since it does not know that they are complete."""
    first = run("a", make_spec(options={"dropout": 0.3}))
    for name in ("model.pt", "training.json"):
        (tmp_path / "a" / name).unlink()
    rows = history(tmp_path / "a")
    with caplog.at_level("INFO"):
        again = run("a", make_spec(options={"dropout": 0.3}))
    assert "continuing after iteration 8" in caplog.text
    assert again["weights_digest"] == first["weights_digest"] and history(tmp_path / "a") == rows


def test_pretrained_recipe_needs_weights(run) -> None:
    with pytest.raises(SegbenchError, match="requires the weights 'resnet50'"):
        run("a", make_spec(pretrained="resnet50"))


def test_the_precision_that_auto_means_is_part_of_the_identity(
    run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A training that stopped on a device with bf16 starts over on one without, and does not mix them."""
    spec = make_spec("Signalled")
    monkeypatch.setattr("segbench.training.precision.has_bf16", lambda device: True)
    with pytest.raises(SystemExit):
        run("a", spec)
    monkeypatch.setattr("segbench.training.precision.has_bf16", lambda device: False)
    with pytest.raises(SystemExit):  # the network stops in its third step, again
        run("a", spec)
    assert "has another precision (bf16, now fp32; set the recipe's `precision` to keep it)" in caplog.text
    assert len((tmp_path / "a" / "history.partial.csv").read_text().splitlines()) == 1 + 3
    whole = run("a", make_spec("Plain"))
    assert whole["precision"] == "fp32"
    monkeypatch.setattr("segbench.training.precision.has_bf16", lambda device: True)
    assert run("b", make_spec("Plain"))["identity"] != whole["identity"]


def test_batch_normalisation_of_one_value_names_the_recipe(run) -> None:
    with pytest.raises(SegbenchError) as error:
        run("a", make_spec("Pooled", batch_size=1))
    assert "saw 1 of the 1 images of a step, at 24 x 24 pixels" in str(error.value)
    assert "remedy: set recipe.batch_size to 2 x accumulate x gpus or more, or a larger" in str(error.value)
    run("b", make_spec("Pooled", batch_size=2, iterations=1))


def test_a_training_removes_what_was_left_in_its_place(run, tmp_path: Path) -> None:
    """Files of a killed prediction or training are removed, but not those of a process that still runs."""
    dead, alive = (tmp_path / "a" / UNFINISHED / name for name in ("dead", "alive"))
    for folder in (dead, alive):
        (folder / "predictions").mkdir(parents=True)
        folder.with_suffix(".lock").touch()
    with alive.with_suffix(".lock").open("r+") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        run("a", make_spec(iterations=1))
        assert alive.is_dir() and not dead.exists() and not dead.with_suffix(".lock").exists()
    run("a", make_spec(iterations=1))
    assert not (tmp_path / "a" / UNFINISHED).exists()
