"""Memory and time that a step requests from a scheduler: generous estimates that grow with each attempt.

Attempts 1 to 4 request 1, 1.5, 2 and 2.5 times the memory (a job that fits no node would never run), and 1,
2, 3 and 4 times the time. A training continues from its checkpoint, so a limit that was too short costs a
start, not the work.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace

from segbench.config.resolved_run import PlannedCell, ResolvedRun
from segbench.jobs.cost import counts, devices
from segbench.jobs.cost.counted import Counted
from segbench.jobs.cost.estimate import Estimator
from segbench.jobs.cost.work import Network, Work

MAX_MINUTES = 24 * 60
"""Longest time that is requested; partitions rarely allow more."""
START_MINUTES = 30
"""Time that every job needs to start on a busy file system."""
MARGIN = 1.5
"""Factor from the expected time of a training to what is requested."""
PROCESS, PROCESS_WITH_GPU = 1500, 4000
"""MB of a process with torch and its libraries, without and with CUDA."""
LOADER = 1000
"""MB of a loader process."""
BATCHES_AHEAD = 3
"""Batches that a loader has ready, in pinned memory with a GPU."""
ACTIVATIONS = 2.0
"""Factor from what a forward pass keeps in fp32 to the largest memory of a step: gradients, copies in bf16,
and what the allocator holds."""


def memory(wildcards: object = None, attempt: int = 1) -> int:
    """Return the memory in MB of a step that predicts or scores; both stream images."""
    return _megabytes(4000, attempt)


def conversion_memory(threads: int, attempt: int = 1) -> int:
    """Return the memory in MB of a conversion: each process has a few images in memory."""
    return _megabytes(3000 + 1000 * threads, attempt)


class Trainings:
    """Memory and time of the trainings of a run.

    They follow what was measured, probed or counted of the network, see docs/cost.md. Networks that nobody
    has counted get the constants of this module.

    Args:
        run: the run.
        on_gpu: whether they use GPUs; None: unless the run has `device: cpu`.
    """

    def __init__(self, run: ResolvedRun, on_gpu: bool | None = None) -> None:
        self._run, self._on_gpu = run, run.config.device != "cpu" if on_gpu is None else on_gpu
        self._estimator = Estimator(run, _Known(self._on_gpu))

    def memory(self, cell: PlannedCell, attempt: int) -> int:
        """Return the main memory in MB of a training.

        With a GPU, it is that of its processes, its loaders and the batches that wait. Without, the
        activations are in it as well.

        Args:
            cell: cell of a network.
            attempt: number of the attempt, from 1.
        """
        work = self._estimator.figures(cell).work
        workers = self._run.config.workers
        if self._on_gpu:
            return _megabytes(host_memory(work, workers) * work.devices, attempt)
        counted = counts.known(work.network)
        return _megabytes((step_memory(work, counted) + LOADER * workers) * work.devices, attempt)

    def minutes(self, cell: PlannedCell, attempt: int) -> int:
        """Return the minutes of a training.

        Args:
            cell: cell of a network.
            attempt: number of the attempt, from 1.
        """
        return _minutes(self.seconds(cell), attempt)

    def seconds(self, cell: PlannedCell) -> float:
        """Return the seconds that a training may take: the expected time and a margin."""
        with suppress(LookupError):
            return MARGIN * self._estimator.seconds(cell).training
        figures = self._estimator.figures(cell)
        pixels = figures.work.pixels * figures.recipe.batch_size * figures.iterations / 1e6
        return pixels / (figures.recipe.gpus if self._on_gpu else 0.02 * cell.threads)


class _Known:
    """Knows only what was counted before, and no device: rules must not wait for a count."""

    def __init__(self, on_gpu: bool) -> None:
        core = devices.Device("processor", False, {"fp32": 0.04}, 10, None)  # a slow one
        v100 = devices.named("V100")
        slow = replace(v100, tflops={"fp32": v100.tflops["fp32"]})  # other GPUs may lack tensor cores
        self._device = slow if on_gpu else core

    def count(self, network: Network) -> Counted:
        if found := counts.known(network):
            return found
        raise LookupError(network.class_path)

    def here(self) -> devices.Device:
        return self._device


def host_memory(work: Work, workers: int) -> float:
    """Return the main memory in MB of one process of a training on a GPU, with its loaders."""
    batch = 4 * work.channels * work.part * work.pixels / 1e6
    return PROCESS_WITH_GPU + LOADER * workers + batch * BATCHES_AHEAD * max(1, workers)


def step_memory(work: Work, counted: Counted | None) -> float:
    """Return the main memory in MB of a training without a GPU and without loaders.

    Args:
        work: the training.
        counted: counts of its network; None: 6 kB are assumed for a pixel.
    """
    if counted is None:
        return PROCESS + 6e-3 * work.pixels * work.part
    kept = counted.kept.at(work.pixels, work.classes) * work.part
    states = {"adamw": 4, "sgd": 3}[work.recipe["optimizer"]] + bool(work.recipe["ema"])
    return PROCESS + (4 * states * counted.parameters + ACTIVATIONS * kept) / 1e6


def probe_memory(work: Work, on_gpu: bool, attempt: int) -> int:
    """Return the main memory in MB of a probe."""
    found = host_memory(work, 0) if on_gpu else step_memory(work, counts.known(work.network))
    return _megabytes(found, attempt)


def prediction_minutes(images: int, gpus: int, attempt: int) -> int:
    """Return the minutes of a prediction, at 0.2 seconds per image on a GPU or 4 without."""
    return _minutes(images * (0.2 if gpus else 4), attempt)


def evaluation_minutes(images: int, attempt: int) -> int:
    """Return the minutes of an evaluation, at 0.2 seconds per image."""
    return _minutes(images * 0.2, attempt)


def conversion_minutes(wildcards: object, attempt: int) -> int:
    """Return the minutes of a conversion or lint."""
    return _minutes(3600, attempt)


def _megabytes(first: float, attempt: int) -> int:
    return round(first * (attempt + 1) / 2)


def _minutes(seconds: float, attempt: int) -> int:
    return min(MAX_MINUTES, round(START_MINUTES + seconds / 60) * attempt)
