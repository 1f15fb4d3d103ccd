"""Two processes, one training."""

from __future__ import annotations

import csv
import logging
import os
import signal
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny_networks import make_spec

from segbench.errors import OutOfMemory, SegbenchError
from segbench.state import EX_TEMPFAIL
from segbench.training import parallel
from segbench.training.model import load_model
from segbench.training.train import Training

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
    """With parts of uneven size: 3 + 2 images, or 2 + 1 + 1 + 1."""
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


def test_a_signal_stops_all_and_the_next_call_ends_in_the_same_bits(
    run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second process alone is told to stop; each has its own dropout."""
    spec = make_spec("Normalised", gpus=2, validate_every=3, select="best")
    whole = run("whole", spec)
    step = Training._step

    def signalled(self: Training, batches: Any) -> dict[str, Any]:
        if self.iteration == 4 and parallel.rank() == 1:
            signal.raise_signal(signal.SIGUSR1)
        return step(self, batches)

    with monkeypatch.context() as patch:
        patch.setattr(Training, "_step", signalled)
        with pytest.raises(SystemExit) as stop:
            run("cut", spec)
    assert stop.value.code == EX_TEMPFAIL
    names = sorted(p.name for p in (tmp_path / "cut").iterdir())
    assert names == ["checkpoint.pt", "history.partial.csv"]
    assert len((tmp_path / "cut" / "history.partial.csv").read_text().splitlines()) == 1 + 5
    assert run("cut", spec)["weights_digest"] == whole["weights_digest"]
    assert [r["iteration"] for r in rows(tmp_path / "cut")] == [str(i) for i in range(1, 9)]


def test_the_signal_of_a_scheduler_reaches_the_processes(run, tmp_path: Path, monkeypatch) -> None:
    step = Training._step

    def signalled(self: Training, batches: Any) -> dict[str, Any]:
        if self.iteration == 2 and parallel.rank() == 0:
            os.kill(os.getppid(), signal.SIGTERM)
        time.sleep(0.05)
        return step(self, batches)

    monkeypatch.setattr(Training, "_step", signalled)
    with pytest.raises(SystemExit) as stop:
        run("a", make_spec(gpus=2, iterations=200))
    assert stop.value.code == EX_TEMPFAIL and (tmp_path / "a" / "checkpoint.pt").exists()


def test_errors_keep_their_kind(run) -> None:
    with pytest.raises(OutOfMemory, match="out of memory"):
        run("a", make_spec("Hungry", gpus=2))
    with pytest.raises(SegbenchError, match="loss_broken is nan"):
        run("b", make_spec("Diverging", gpus=2))


def test_one_failing_process_ends_the_training_with_its_reason(run, monkeypatch) -> None:
    step = Training._step

    def broken(self: Training, batches: Any) -> dict[str, Any]:
        if self.iteration == 2 and parallel.rank() == 1:
            raise SegbenchError("is torn", where="image.png")
        return step(self, batches)

    monkeypatch.setattr(Training, "_step", broken)
    with pytest.raises(SegbenchError, match=r"image.png: is torn"):
        run("a", make_spec(gpus=2))


def test_what_a_step_takes_is_logged(run, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    run("a", make_spec(batch_size=6, accumulate=2, iterations=1))
    assert "6 images a step, in 1 x 2 parts (processes x accumulate); learning rate 0.01" in caplog.text


def test_more_devices_than_images_are_refused() -> None:
    with pytest.raises(ValueError, match=r"accumulate \(2\) x gpus \(3\) is more than batch_size \(4\)"):
        make_spec(batch_size=4, accumulate=2, gpus=3)
