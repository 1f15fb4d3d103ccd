"""The train step: run the training loop and save the state that it needs to continue after a kill.

Files in the folder of the cell until its predictions are made (see `remove_checkpoint`):
    checkpoint.pt          exact state, from which the training continues
    best-<iteration>.pt    best weights so far, with `select: best`
    history.partial.csv    one row per iteration
Files after the training:
    model.pt               weights, specification, classes, normalisation
    history.csv            iteration, epoch, lr, loss_<name>, total, grad_norm, validation, validation_score,
                           seconds, ...
    training.json          time, memory, speed, machine, versions and checksums of the sources
The first three are not outputs of the workflow. Snakemake deletes the outputs of a job that failed, or that
ended after Snakemake itself was killed. Such a training runs again, and continues from its checkpoint.
"""

from __future__ import annotations

import hashlib
import logging
import math
import operator
import random
import shutil
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager, nullcontext
from pathlib import Path
from typing import Any, Literal

import torch

from segbench.contract.cell import CellSpec
from segbench.contract.recipe import Inference, Recipe
from segbench.data.dataset import Dataset
from segbench.data.loading.kept import keep
from segbench.errors import SegbenchError
from segbench.files import atomic_path, read_json, scratch, write_json
from segbench.jobs.fingerprint import fingerprint
from segbench.jobs.locks import alone_in
from segbench.jobs.state import CHECKPOINT, Stopped
from segbench.jobs.training_code import training_code
from segbench.models.saved import save_model
from segbench.training import parallel
from segbench.training.loop import Training
from segbench.training.precision import Precision, memory_errors, pick_device
from segbench.training.runner.ahead import copied_ahead
from segbench.training.runner.checkpoint import (
    HISTORY,
    load_checkpoint,
    remove_best,
    save_checkpoint,
    weights_digest,
)
from segbench.training.runner.energy import energy_meter
from segbench.training.runner.events import events_in
from segbench.training.runner.history import History
from segbench.training.runner.lease import leased
from segbench.training.runner.processes import run_on
from segbench.training.runner.progress import TrainingProgress
from segbench.training.runner.provenance import peak_memory, provenance, sha256
from segbench.training.runner.signals import StopSignals, handling
from segbench.training.runner.validation import Measure, ValidationScore
from segbench.training.runner.waiting import Waiting

log = logging.getLogger(__name__)
Cache = Literal["none", "ram"]


def train(
    dataset_root: Path,
    spec: CellSpec,
    out: Path,
    *,
    weights: Path | None = None,
    workers: int = 0,
    threads: int | None = None,
    device: str = "auto",
    checkpoint_every: float = 600.0,
    stop_at: float | None = None,
    measure: Measure | None = None,
    inference: Inference | None = None,
    tensorboard: bool = False,
    cache: Cache = "none",
) -> None:
    """Train one cell; continue from its checkpoint if there is one.

    Args:
        dataset_root: folder of the converted dataset.
        spec: cell to train.
        out: folder of the cell, see the top of this module.
        weights: file that the recipe's `pretrained`, `weights` or `init_from` names; None without these.
        workers: number of loader processes per device; it does not change the result.
        threads: processor threads of all processes together; it can change the last bits of the result.
        device: auto, cpu, cuda or cuda:<n>, see `leased`.
        checkpoint_every: seconds between checkpoints.
        stop_at: Unix time of a limit; the training stops before it.
        measure: computes the primary metric at each validation; None: only the loss is computed.
        inference: how images are predicted for it, beyond what the rules derive.
        tensorboard: write event files for TensorBoard.
        cache: `ram`: keep the training images decoded in memory, see `segbench.data.loading.kept`.

    Raises:
        SegbenchError: a loss is not finite, the data is bad, memory runs out (`OutOfMemory`), or the time
            until `stop_at` is too short for one step.
        Stopped: a checkpoint is written after SIGTERM, SIGUSR1 or before `stop_at`. The same call then
            continues from it.
        OSError: the disk is full; the previous checkpoint stays.
    """
    dataset_root, out = Path(dataset_root), Path(out)
    with alone_in(out) as waited:
        if waited and _is_done(out, spec, sources(dataset_root, spec, weights), device):
            log.info("%s: another process has trained this cell meanwhile", out)
            return
        with leased(device, spec.recipe.gpus) as devices:
            options = (weights, workers, threads, checkpoint_every, stop_at, measure, inference, tensorboard)
            run_on(devices, _train, dataset_root, spec, out, *options, cache)


def sources(dataset_root: Path, spec: CellSpec, weights: Path | None) -> dict[str, Any]:
    """Return the checksums of all inputs of a training except its specification.

    Args:
        dataset_root: folder of the converted dataset.
        spec: the cell; its network decides which code counts.
        weights: file of the initial weights, or None.

    Returns:
        Checksums of the dataset, its archives, the weights, and the fingerprint of the code.
    """
    return {
        "data": sha256(dataset_root / "dataset.json"),
        "archives": Dataset(dataset_root).info.archives,
        "weights": sha256(weights) if weights else None,
        "code": fingerprint(*training_code(spec.recipe), spec.class_path.partition(":")[0]),
    }


def identity(spec: CellSpec, sources: dict[str, Any], precision: str) -> str:
    """Return an identifier that is the same for trainings that end in the same weights.

    Args:
        spec: the cell.
        sources: return value of `sources`.
        precision: bf16, fp16 or fp32, not auto.
    """
    return hashlib.sha256(
        f"{spec.model_dump_json(exclude_unset=True)} {sources} {precision}".encode()
    ).hexdigest()


def _is_done(out: Path, spec: CellSpec, sources: dict[str, Any], device: str) -> bool:
    results = out / "training.json"
    if not results.exists() or not (out / "model.pt").exists():
        return False
    precision = Precision.of(spec.recipe.precision, pick_device(device)).name
    return bool(read_json(results)["identity"] == identity(spec, sources, precision))


def _train(
    device: torch.device,
    dataset_root: Path,
    spec: CellSpec,
    out: Path,
    weights: Path | None,
    workers: int,
    threads: int | None,
    checkpoint_every: float,
    stop_at: float | None,
    measure: Measure | None,
    inference: Inference | None,
    tensorboard: bool,
    cache: Cache,
) -> None:
    if device.type == "cuda":
        torch.cuda.set_device(device)
    if threads:
        torch.set_num_threads(max(1, threads // parallel.size()))
    stop = StopSignals(stop_at)
    with handling(stop.receive), memory_errors(f"training {spec.class_path}", memory_remedy(spec.recipe)):
        training = Training(dataset_root, spec, weights, device)
        score = _validation_score(training, measure, inference, out)
        attempt = Attempt(training, out, sources(dataset_root, spec, weights), score, tensorboard)
        if training.iterations:
            with _kept(training, out) if cache == "ram" else nullcontext():
                attempt.run(stop, workers, checkpoint_every)
        if parallel.rank() == 0:
            attempt.finish()


def _validation_score(
    training: Training, measure: Measure | None, inference: Inference | None, out: Path
) -> ValidationScore | None:
    if measure is None or training.validation is None or not training.iterations:
        return None
    recipe, name = training.recipe, training.info.validation_split
    if not recipe.validation_images or name is None:
        return None
    feeding = recipe.inference.stated_over(inference)
    split = training.dataset.split(name)
    return ValidationScore(measure, split, recipe.validation_images, feeding, training.precision, out)


@contextmanager
def _kept(training: Training, out: Path) -> Iterator[None]:
    """Keep the training images decoded within the block; process 0 writes the file, and all share it."""
    split = training.train_split
    with scratch(out / "decoded") as folder:
        if parallel.rank() == 0:
            split.kept = keep(split, training.view, folder)
        split.kept = parallel.from_first(split.kept)
        yield


def memory_remedy(recipe: Recipe) -> str:
    """Return what helps a training that runs out of memory: half of the images in a pass, if it can."""
    images = math.ceil(recipe.batch_size / (recipe.accumulate * recipe.gpus))
    if images == 1:
        return "use a smaller augment.crop, more gpus, or a device with more memory"
    half = math.ceil(images / 2)
    accumulate = math.ceil(recipe.batch_size / (half * recipe.gpus))
    return (
        f"set accumulate: {accumulate} ({half} instead of {images} images in a pass, with the same gradients"
        " but for batch norms), a smaller augment.crop, or use a device with more memory"
    )


class Attempt:
    """One attempt at a training: load its checkpoint, run it, save it, and write its results."""

    def __init__(
        self,
        training: Training,
        out: Path,
        sources: dict[str, Any],
        score: ValidationScore | None = None,
        tensorboard: bool = False,
    ) -> None:
        self.score, self.tensorboard = score, tensorboard
        self.training, self.recipe, self.out = training, training.recipe, out
        self.checkpoint_path, self.history_path = out / CHECKPOINT, out / HISTORY
        self.sources = sources
        self.identity = identity(training.stated, sources, training.precision.name)
        self.seconds, self.memory = 0.0, 0
        self.energy: float | None = 0.0  # Wh; None if a part of the training was not measured
        self.energy_source: str | None = None
        self.row: dict[str, Any] | None = None  # row of the last iteration until its validation is done
        self.saving = 0.0  # seconds that the last checkpoint took
        self._resume()
        self.first = self._position()
        log.info(
            "%d images a step, in %d x %d parts (processes x accumulate); learning rate %g",
            *(self.recipe.batch_size, parallel.size(), self.recipe.accumulate, self.recipe.optimizer.lr),
        )

    def run(self, signals: StopSignals, workers: int, checkpoint_every: float) -> None:
        """Run the remaining iterations, with validation, history and checkpoints."""
        training, iterations = self.training, self.training.iterations
        began = time.monotonic()
        # trainings that start together do not write together
        saved = began - random.Random().uniform(0, checkpoint_every)
        seconds_before, energy_before = self.seconds, self.energy
        training.train_mode()
        writes = parallel.rank() == 0
        with (
            copied_ahead(training.batches(workers), training.precision.device, workers) as copied,
            closing(History(self.history_path, training.iteration)) if writes else nullcontext() as history,
            events_in(self.out, training.iteration, self.tensorboard and writes) as events,
            TrainingProgress(training.iteration, iterations) as progress,
            closing(energy_meter(training.precision.device)) as meter,
        ):
            if self.energy_source not in (None, meter.source):  # an earlier part ran on another device
                energy_before = None
            self.energy_source = meter.source
            batches = Waiting(copied, workers)
            while self.row or not training.done:
                started = time.monotonic()
                row = self.row = self.row or training.step(batches)
                signals.reserve(1.5 * (time.monotonic() - started) + self.saving)
                row |= dict.fromkeys(["validation", *(["validation_score"] if self.score else [])])
                if training.validation_due():
                    found = training.validate(lambda: bool(signals.received), self.score)
                    if found is None:
                        self._stop(signals)
                    else:
                        row["validation"] = found.loss
                        row |= {"validation_score": found.score} if self.score else {}
                        if self.score:
                            events.add_pictures(self.score.pictures, row["iteration"])
                self.row = None
                self.seconds = seconds_before + time.monotonic() - began
                used = meter.watt_hours()
                self.energy = None if energy_before is None or used is None else energy_before + used
                if history:
                    history.append(row | {"seconds": round(self.seconds, 3)})
                    events.add(row, self.score.metric if self.score else "")
                    progress.show(training.iteration, row["total"], row["images_per_second"])
                due = time.monotonic() - saved >= checkpoint_every
                stop, save = parallel.any_of(bool(signals.received), due)
                if stop and not training.done:
                    self._stop(signals)
                if save:
                    self._checkpoint()
                    saved = time.monotonic()
        self._checkpoint()

    def finish(self) -> None:
        """Write the results; model.pt comes last, so that a kill in between leaves no model without them."""
        training, trained = self.training, bool(self.training.iterations)
        images = training.iteration * self.recipe.batch_size
        if trained:
            with atomic_path(self.out / "history.csv") as partial:
                shutil.copyfile(self.history_path, partial)
        write_json(
            self.out / "training.json",
            {
                "parameters": sum(p.numel() for p in training.network.parameters()),
                "iterations": training.iteration,
                "gpus": self.recipe.gpus,
                "crop": self.recipe.augment.crop_size,
                "images": images,
                "fit": [one._asdict() for one in training.derived],
                "validation": self.score and self.score.described(),
                "selected_iteration": training.best["iteration"] if training.best else training.iteration,
                "seconds": self.seconds if trained else None,
                "images_per_second": images / self.seconds if trained else None,
                "energy_wh": self.energy if trained else None,
                "energy_source": self.energy_source if trained and self.energy is not None else None,
                "peak_memory": self._peak_memory(),
                "precision": training.precision.name,
                "weights_digest": weights_digest(training.weights),
                "sources": self.sources,
                "identity": self.identity,
                **provenance(training.precision.device),
            },
        )
        save_model(
            self.out / "model.pt",
            training.spec,
            training.view,
            training.info,
            self.identity,
            training.weights,
        )

    def _position(self) -> tuple[int, bool]:
        """Return the iteration, and whether its validation is still due."""
        return self.training.iteration, self.row is not None

    def _stop(self, signals: StopSignals) -> None:
        advanced = self._position() != self.first
        (at_limit,) = parallel.any_of(signals.at_limit)
        if at_limit and not advanced:
            raise SegbenchError(
                "the time limit is too short for one step with its validation",
                where=self.out,
                remedy="give the training more time (on SLURM `--set-resources train:runtime=MINUTES`)",
            )
        if advanced:
            self._checkpoint()
        parallel.barrier()  # when one process ends, the others are killed
        reason = signals.received or "another process was told to stop"
        text = f"{reason}: stopped after iteration {self.training.iteration} of {self.training.iterations}"
        log.info("%s; run again to continue", text)
        raise Stopped(text, at_limit)

    def _checkpoint(self) -> None:
        began = time.monotonic()
        state = self.training.state()
        if self.training.done and not self.row:
            del state["optimizer"]  # only the results are left to write
        if parallel.rank() == 0:
            own = {
                "identity": self.identity,
                "precision": self.training.precision.name,
                "seconds": self.seconds,
                "energy": self.energy,
                "energy_source": self.energy_source,
                "memory": self._peak_memory(),
                "row": self.row,
                "metric": self.score.metric if self.score else "",
            }
            save_checkpoint(self.checkpoint_path, own | state)
        self.saving = time.monotonic() - began

    def _resume(self) -> None:
        state = load_checkpoint(self.checkpoint_path, self.identity, self.training.precision.name)
        if state is None:
            if parallel.rank() == 0:
                remove_best(self.out)
            return
        try:
            self.training.load_state({"optimizer": self.training.optimizer.state_dict()} | state)
            self.memory, self.seconds = operator.index(state["memory"]), float(state["seconds"])
            self.energy = None if state["energy"] is None else float(state["energy"])
            self.energy_source = state["energy_source"]
            self.row = state["row"] and {**state["row"]}
            if self.score:
                self.score.metric = str(state["metric"])
        except (KeyError, TypeError, ValueError, IndexError, AttributeError, RuntimeError) as error:
            raise SegbenchError(
                f"does not fit its training ({(str(error) or type(error).__name__).splitlines()[0]})",
                where=self.checkpoint_path,
                remedy="remove it; the training then starts over",
            ) from error
        log.info("%s: continuing after iteration %d", self.checkpoint_path, self.training.iteration)

    def _peak_memory(self) -> int:
        return max(self.memory, peak_memory(self.training.precision.device))
