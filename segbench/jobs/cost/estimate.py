"""Seconds of a cell on a device, from the best source that there is.

In the order of trust: cells of this run that were measured on the device, a probe on it, and operations that
were counted. docs/cost.md gives the formulas.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from statistics import median
from typing import Any, Literal, Protocol

from segbench.config.resolved_run import PlannedCell, ResolvedRun
from segbench.config.schema import DatasetEntry
from segbench.contract.cell import CellSpec
from segbench.contract.recipe import Inference, Recipe
from segbench.contract.run import fold_folder
from segbench.errors import SegbenchError
from segbench.files import read_json
from segbench.jobs.cost import probes
from segbench.jobs.cost.counted import FEW, Counted
from segbench.jobs.cost.devices import Device, accelerator, gpu
from segbench.jobs.cost.probes import Probe
from segbench.jobs.cost.work import ASSUMED_IMAGE, Network, Scene, Work, prediction_sizes, scene_of, work_of
from segbench.jobs.fitted_cell import fitted_cell

Source = Literal["measured", "probe", "estimated"]
LOADING = 250e-9
"""Seconds in which one process loads and changes a pixel of a training image, without a probe."""


class Meter(Protocol):
    """What needs torch: counting a network, and measuring this machine."""

    def count(self, network: Network) -> Counted:
        """Count the operations of a network."""

    def here(self) -> Device:
        """Return the device on which a run would train here."""


@dataclass(frozen=True)
class Figures:
    """A cell with its recipe and the images of its dataset."""

    cell: PlannedCell
    recipe: Recipe
    scene: Scene
    work: Work

    @property
    def iterations(self) -> int:
        """Number of steps; as for two classes and a hundred images while the recipe is not fitted."""
        fit = self.recipe.fit
        return self.recipe.iterations or (fit.iterations if fit and fit.iterations else 0) or 0

    @property
    def evaluated(self) -> int:
        """Number of images that are predicted; 0 if it is not known."""
        return self.scene.counted.get(self.scene.evaluated, 0)


@dataclass(frozen=True)
class Seconds:
    """Time of a cell in one piece on its device or devices."""

    training: float
    prediction: float
    source: Source
    device: str


def figures_of(run: ResolvedRun, cell: PlannedCell, scene: Scene | None = None) -> Figures:
    """Return what decides the cost of a cell of a network.

    Args:
        run: its run.
        cell: the cell.
        scene: images of its dataset; None: read from its dataset.json, or assumed.
    """
    entry, path = run.datasets[cell.dataset], dataset_json(run, cell)
    scene = scene or scene_of(path, stated(entry))
    spec = CellSpec.model_validate_json(cell.spec)
    if spec.recipe.fit is not None and scene.converted:
        with suppress(OSError, ValueError, KeyError):
            spec = fitted_cell(cell, path).spec
    assert cell.recipe is not None
    # the specification has no `inference`, which does not decide the weights
    feeding = spec.recipe.inference if spec.recipe.fit is not None else cell.recipe.inference
    recipe = spec.recipe.model_copy(update={"inference": feeding})
    spec = spec.model_copy(update={"recipe": recipe})
    return Figures(cell, recipe, scene, work_of(spec, scene, entry.channels))


def dataset_json(run: ResolvedRun, cell: PlannedCell) -> Path:
    """Return the description of a cell's dataset, or of its fold."""
    root = Path(run.config.data, cell.dataset)
    if cell.fold is not None:
        root = fold_folder(root, run.config.folds_of(cell.dataset), cell.fold)
    return root / "dataset.json"


def stated(entry: DatasetEntry) -> Scene:
    """Return the scene of a dataset that is not converted, as far as its entry states it."""
    images = entry.images or entry.options.get("images", {})
    whole = isinstance(images, dict) and all(isinstance(n, int) for n in images.values())
    match entry.options.get("size"):  # of generated images
        case [int(height), int(width)]:
            image = (height, width)
        case _:
            image = ASSUMED_IMAGE
    return Scene.assumed(dict(images) if whole else {}, image)


class Estimator:
    """Estimate the seconds of cells.

    Args:
        run: the run.
        meter: counts and measures.
        on: device to estimate for; None: that of measured cells or of probes, or else this machine's.
    """

    def __init__(self, run: ResolvedRun, meter: Meter, on: Device | None = None) -> None:
        self._run, self._meter, self._on = run, meter, on
        self._counts: dict[str, Counted] = {}
        self._figures: dict[tuple[str, str, int | None], Figures] = {}
        self._scenes: dict[Path, Scene] = {}

    def figures(self, cell: PlannedCell) -> Figures:
        """Return what decides the cost of a cell; seeds share it."""
        key = (cell.dataset, cell.model, cell.fold)
        if key not in self._figures:
            path = dataset_json(self._run, cell)
            if path not in self._scenes:
                self._scenes[path] = scene_of(path, stated(self._run.datasets[cell.dataset]))
            self._figures[key] = figures_of(self._run, cell, self._scenes[path])
        return self._figures[key]

    def seconds(self, cell: PlannedCell) -> Seconds:
        """Return the time of a cell of a network.

        Raises:
            Exception: whatever the network raises while it is counted.
        """
        figures = self.figures(cell)
        for source, found in (("measured", self._measured), ("probe", self._probed)):
            if times := found(figures):
                return Seconds(*times, source=source, device=self.kind)  # type: ignore[arg-type]
        return Seconds(*self._estimated(figures), source="estimated", device=self.kind)

    @property
    def kind(self) -> str:
        """Name of the device."""
        return self._on.kind if self._on else self._found_kind

    @cached_property
    def device(self) -> Device:
        """The device; without speeds if the table does not have it."""
        if self._on:
            return self._on
        here = self._meter.here()
        if self.kind == here.kind:
            return here
        try:
            return gpu(self.kind)
        except SegbenchError:  # it has only measurements
            return Device(
                self.kind, any(p.gpu for p in self._probes), dict(here.tflops), here.bandwidth, None
            )

    @cached_property
    def _found_kind(self) -> str:
        if self._trainings:
            return [*self._trainings.values()][-1][-1].device
        if self._all_probes:
            return self._all_probes[-1].device
        return self._meter.here().kind

    # measured

    @cached_property
    def _trainings(self) -> dict[tuple[str, str], list[_Training]]:
        found: dict[tuple[str, str], list[_Training]] = {}
        root = Path(self._run.config.results, self._run.config.run, "cells")
        for path in sorted(root.glob("*/*/seed*/training.json")):
            with suppress(SegbenchError, OSError, LookupError, TypeError, ValueError, AttributeError):
                training = _Training.read(path, on_gpu=self._run.config.device != "cpu")
                found.setdefault((path.parts[-4], path.parts[-3]), []).append(training)
        return found

    def _measured(self, figures: Figures) -> tuple[float, float] | None:
        """Scale trainings of the same network in this run: by images and pixels, and else by operations."""
        cell = figures.cell
        same = self._on_device(self._trainings.get((cell.dataset, cell.model), []))
        ratio = figures.iterations * figures.recipe.batch_size / self._devices(figures)
        if same:
            whole = [t for t in same if t.crop is None] if figures.recipe.augment.crop_size is None else same
            if whole:
                return (
                    median(t.seconds / t.images / t.pixels(figures) for t in whole)
                    * ratio
                    * figures.work.pixels,
                    median(t.prediction for t in whole) * figures.evaluated,
                )
        for (dataset, model), trainings in self._trainings.items():
            others = self._on_device(trainings)
            if model != cell.model or not others:
                continue
            named = (c for c in self._run.cells if (c.dataset, c.model) == (dataset, model))
            if (other := next(named, None)) is None:  # trained before the run's selection changed
                continue
            if (base := self.figures(other)).recipe.augment.crop_size is None and others[0].crop:
                continue
            by_image = median(t.seconds / t.images for t in others)
            share = self._image_flops(figures.work) / self._image_flops(base.work)
            seen = self._prediction_flops(figures) / max(1.0, self._prediction_flops(base))
            predicted = median(t.prediction for t in others) * seen
            return by_image * share * ratio, predicted * figures.evaluated
        return None

    def _on_device(self, trainings: list[_Training]) -> list[_Training]:
        return [t for t in trainings if t.device == self.kind]

    # probed

    @cached_property
    def _all_probes(self) -> list[Probe]:
        on_gpu = self._run.config.device != "cpu"
        models = {c.class_path for c in self._run.cells if c.recipe}
        found = probes.of_run(self._run).all
        return [p for p in found if p.work.network.class_path in models and (on_gpu or not p.gpu)]

    @cached_property
    def _probes(self) -> list[Probe]:
        return [p for p in self._all_probes if _same_device(p, self.kind)]

    def _probed(self, figures: Figures) -> tuple[float, float] | None:
        work = figures.work
        near = probes.nearest(work, self._probes)
        if near is None:
            return None
        factor, feeding = 1.0, 1.0
        if near.work.key != work.key:
            factor = self._image_flops(work) * work.batch / (self._image_flops(near.work) * near.work.batch)
            feeding = self._prediction_flops(figures) / max(1.0, self._prediction_of(near.work))
        if not near.gpu:
            factor *= figures.recipe.gpus * near.threads / figures.cell.threads
        loading = near.loading * work.batch / near.work.batch
        loading *= work.pixels / near.work.pixels
        step = self._with_loading(near.seconds * factor, loading)
        validation = self._validations(figures) * near.prediction_seconds * feeding
        return (
            step * figures.iterations + validation,
            near.prediction_seconds * feeding * figures.evaluated,
        )

    # estimated

    def _estimated(self, figures: Figures) -> tuple[float, float]:
        work, threads = figures.work, figures.cell.threads
        precision = figures.recipe.precision

        def time(flops: float, kept: float) -> float:
            return self.device.seconds(flops, kept, precision, threads)

        images = figures.recipe.batch_size / self._devices(figures)
        loading = LOADING * images * work.pixels
        computing = time(self._image_flops(work) * images, self._kept(work) * images)
        step = self._with_loading(computing, loading)
        seen = sum(h * w for h, w in prediction_sizes(figures.recipe.inference, work.image)) / work.pixels
        # without a backward pass, a third of the memory is read and written
        prediction = time(self._prediction_flops(figures), self._kept(work) * seen / 3)
        training = step * figures.iterations + self._validations(figures) * prediction
        return training, prediction * figures.evaluated

    def _with_loading(self, step: float, loading: float) -> float:
        workers = self._run.config.workers
        return max(step, loading / workers) if workers else step + loading

    def _devices(self, figures: Figures) -> int:
        """Devices that share a step: processes on the processor share its cores."""
        return figures.recipe.gpus if self.device.gpu else 1

    def _validations(self, figures: Figures) -> float:
        """Number of images that are validated during the training, by their loss or their metric."""
        every = figures.recipe.validate_every
        images = figures.scene.counted.get("val", 0) if figures.scene.evaluated != "val" else 0
        scored = min(images, figures.recipe.validation_images)
        return figures.iterations / every * (images + scored) if every else 0

    def _count(self, network: Network) -> Counted:
        if network.key not in self._counts:
            self._counts[network.key] = self._meter.count(network)
        return self._counts[network.key]

    def _image_flops(self, work: Work) -> float:
        """Operations of an image in a step."""
        return self._count(work.network).step(work.pixels, work.classes)

    def _kept(self, work: Work) -> float:
        """Bytes that the forward pass of a training image keeps."""
        return self._count(work.network).kept.at(work.pixels, work.classes)

    def _prediction_flops(self, figures: Figures) -> float:
        return self._prediction_of(figures.work)

    def _prediction_of(self, work: Work) -> float:
        sizes = prediction_sizes(Inference.model_validate(work.recipe["inference"]), work.image)
        line = self._count(work.network).prediction
        return sum(line.at(height * width, FEW) for height, width in sizes)


def _same_device(probe: Probe, kind: str) -> bool:
    """Return whether a probe is of a device: by its name, or by the entry of the table that both have."""
    entry = accelerator(kind)
    return probe.device == kind or (entry is not None and accelerator(probe.device) is entry)


@dataclass(frozen=True)
class _Training:
    """A finished training and its prediction."""

    seconds: float
    """Time of the training, times the number of its GPUs if it used some."""
    images: int
    """Images of all its steps."""
    crop: tuple[int, int] | None
    prediction: float
    """Seconds of a predicted image; 0 if nothing was predicted yet."""
    device: str

    @classmethod
    def read(cls, path: Path, *, on_gpu: bool) -> _Training:
        """Read a training.json and the efficiency.json beside it.

        Raises:
            SegbenchError, OSError, LookupError, TypeError, ValueError: it is not complete, or was made on
                another kind of device than the run will use.
        """
        measured: Mapping[str, Any] = read_json(path)
        if measured["gpu"] and not on_gpu:
            raise KeyError("gpu")
        predicted = 0.0
        with suppress(SegbenchError, OSError, LookupError, TypeError, ArithmeticError):
            found = read_json(path.with_name("efficiency.json"))
            predicted = found["seconds"] / found["images"]
        return cls(
            float(measured["seconds"]) * (measured["gpus"] if measured["gpu"] else 1),
            int(measured["images"]) or 1,
            tuple(measured["crop"]) if measured["crop"] else None,
            predicted,
            measured["gpu"] or measured["processor"],
        )

    def pixels(self, figures: Figures) -> int:
        """Pixels of one of its images; those of the cell if they were not cropped."""
        return self.crop[0] * self.crop[1] if self.crop else figures.work.pixels
