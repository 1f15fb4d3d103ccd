"""A few steps of a training and a few predictions, timed."""

from __future__ import annotations

import statistics
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import torch

from segbench.contract.cell import CellSpec
from segbench.contract.recipe import Inference, NumberFormat, Recipe
from segbench.data.loading.loader import Batch
from segbench.jobs.cost.probes import Memory
from segbench.jobs.cost.work import Work
from segbench.models.saved import Model
from segbench.prediction.efficiency import Stopwatch
from segbench.prediction.inference import Predictor
from segbench.prediction.predict import read_tensor
from segbench.probe.count import counting
from segbench.training.compiling import uncompiled
from segbench.training.loop import Training
from segbench.training.runner.provenance import peak_memory

STEPS = 10
"""Number of steps that are timed."""
WARM_UP = 2
"""Number of steps before them. The last one is not timed either: its operations are counted."""
PREDICTIONS = 3
RATE = 1e-8
"""Learning rate: the weights stay random, and losses finite."""


class Steps(NamedTuple):
    """What the steps of a training have cost."""

    seconds: float
    loading: float
    flops: float
    memory: Memory
    precision: NumberFormat


class Waiting:
    """Iterate over batches, and add up the time that this takes."""

    def __init__(self, batches: Iterator[Batch]) -> None:
        self._batches, self.seconds = batches, 0.0

    def __iter__(self) -> Iterator[Batch]:
        return self

    def __next__(self) -> Batch:
        started = time.perf_counter()
        try:
            return next(self._batches)
        finally:
            self.seconds += time.perf_counter() - started


def spec_of(work: Work, accumulate: int) -> CellSpec:
    """Return the training of a work: random weights, one device, no validation."""
    recipe = {
        **work.recipe,
        "batch_size": work.batch,
        "accumulate": accumulate,
        "gpus": 1,
        "iterations": WARM_UP + STEPS + 1,
        "optimizer": {"name": work.recipe["optimizer"], "lr": RATE},
    }
    network = work.network
    return CellSpec(
        class_path=network.class_path,
        options=network.options,
        task=network.task,
        recipe=Recipe.model_validate(recipe),
        seed=0,
    )


def run_steps(root: Path, spec: CellSpec, device: torch.device, steps: int = STEPS) -> tuple[Steps, Training]:
    """Run steps of a training on a dataset of noise.

    Args:
        root: folder of the dataset.
        spec: the training.
        device: device to train on.
        steps: number of steps to time.

    Raises:
        SegbenchError, torch.OutOfMemoryError, MemoryError: as `Training`.
    """
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    training = Training(root, spec, None, device)
    training.train_mode()
    batches = Waiting(training.batches(workers=0))
    seconds, loading = [], []
    for number in range(WARM_UP + steps):
        waited, started = batches.seconds, time.perf_counter()
        training.step(batches)
        _wait(device)
        if number >= WARM_UP:
            loading.append(batches.seconds - waited)
            seconds.append(time.perf_counter() - started - loading[-1])
    memory = memory_of(device)
    with uncompiled(training.recipe.compile), counting() as counter:
        training.step(batches)
    found = Steps(
        statistics.median(seconds),
        statistics.median(loading),
        float(counter.get_total_flops()),
        memory,
        training.precision.name,
    )
    return found, training


def memory_of(device: torch.device) -> Memory:
    """Return the largest memory so far."""
    gpu = device.type == "cuda"
    return Memory(
        resident=peak_memory(torch.device("cpu")),
        allocated=torch.cuda.max_memory_allocated(device) if gpu else None,
        reserved=torch.cuda.max_memory_reserved(device) if gpu else None,
    )


def run_predictions(training: Training, inference: Inference) -> dict[str, Any]:
    """Predict an image of noise a few times with the network of a training.

    Returns:
        `flops` and `latency_median`, as in `Stopwatch.result`.
    """
    info, view = training.info, training.view
    model = Model(
        training.network.eval(), training.spec, "", info.name, info.mean, info.std, levels=info.levels
    )
    assert model.view == view
    stopwatch = Stopwatch(Predictor(model, inference, training.precision), training.precision.device)
    split = training.dataset.split(info.evaluation_split)
    image = read_tensor(split, split.images[0])
    stopwatch.warm_up(image)
    for _ in range(PREDICTIONS):
        stopwatch(image[None])
    return stopwatch.result()


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
