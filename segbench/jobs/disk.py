"""Disk space that a run needs at its peak, beyond what it has written, and the check before it starts.

Archives: their files if they are at hand, else the sizes in the entries. Datasets: multiples of the archives
(`disk` of the entry). Cells: a finished one of the same dataset and network, else from the parameters and the
number of test images.
Generated datasets are small and count as nothing.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

from segbench.config.resolved_run import PlannedCell, ResolvedRun
from segbench.contract.cell import CellSpec
from segbench.contract.sources import local_path
from segbench.errors import SegbenchError
from segbench.files import UNFINISHED
from segbench.jobs.cost.counts import known
from segbench.jobs.cost.work import Network

GB = 1e9
PREDICTION = 0.1e6
"""Bytes of the predictions and scores of an image, of a network that was never measured."""
IMAGES = 1000
"""Test images of a dataset whose entry does not state them."""
MODEL, CHECKPOINT = 4, 16
"""Bytes per parameter of a trained network; of a checkpoint: weights, gradients' moments, optimizer."""
WEIGHTS, PACKAGED = 0.6e9, 0.05e9
"""Bytes of public weights, as published and as stored: fetched ones, and those of an installed package."""


@dataclass
class Disk:
    """Need of one disk, in bytes."""

    free: int
    folders: list[str] = field(default_factory=list)
    """Folders of the run on the disk."""
    parts: dict[str, float] = field(default_factory=dict)
    """Need by what it is for."""

    @property
    def need(self) -> float:
        return sum(self.parts.values())

    def __str__(self) -> str:
        parts = ", ".join(f"{what} {_gb(size)}" for what, size in self.parts.items() if size)
        return (
            f"{_gb(self.need)} more at the peak in {', '.join(self.folders)}; {_gb(self.free)} are free"
            f"{parts and f' ({parts})'}"
        )


@dataclass
class Needs:
    """Needs of a run on all its disks."""

    disks: list[Disk]
    unknown: list[str]
    """Archives of unknown size, which count as nothing."""

    def lines(self) -> Iterator[str]:
        """Yield the lines that `segbench plan` prints."""
        for disk in self.disks:
            yield f"disk: {disk}"
        if self.unknown:
            yield f"  without archives of unknown size: {', '.join(self.unknown)}"


def needs(run: ResolvedRun) -> Needs:
    """Return what a run, without its missing datasets, needs beyond what is there, by disk."""
    config = run.config
    archives, unknown = _archives(run)
    converted, extra, to_fetch = {}, {}, {}
    for name, entry in run.datasets.items():
        if _is_converted(run, name) or not entry.archives:
            continue
        whole, data = sum(archives[one] for one in entry.archives), Path(config.data)
        begun = _size(data / name, data / UNFINISHED / f"{name}.work")
        converted[name] = max(0.0, whole * entry.disk.converted - begun)
        extra[name] = max(0.0, whole * max(entry.disk.work, entry.disk.converted) - begun - converted[name])
        to_fetch[name] = {
            one: max(0.0, archives[one] - _size(Path(config.archives, f"{one}.part")))
            for one in entry.archives
            if not Path(config.archives, one).exists()
        }
    if config.keep_archives:  # all conversions may run at once
        fetched = sum({a: size for some in to_fetch.values() for a, size in some.items()}.values())
        beside = sum(extra.values())
    else:
        largest = max(extra, key=lambda name: extra[name] + sum(to_fetch[name].values()), default="")
        fetched, beside = sum(to_fetch.get(largest, {}).values()), extra.get(largest, 0.0)
    cells, checkpoint = _cells(run)
    weights = sum(
        PACKAGED if entry.package else WEIGHTS
        for name, entry in run.weights.items()
        if not Path(config.weights, f"{name}.safetensors").exists()
    )
    conversion = "conversions" if config.keep_archives else "the largest conversion"
    disks: dict[int, Disk] = {}
    for folder, parts in (
        (config.data, {"datasets": sum(converted.values()), conversion: beside}),
        (config.archives, {"archives" + " one dataset at a time" * (not config.keep_archives): fetched}),
        (config.weights, {"weights": weights}),
        (config.results, {"cells": cells, "a checkpoint": checkpoint}),
    ):
        place = _existing(Path(folder))
        disk = disks.setdefault(place.stat().st_dev, Disk(shutil.disk_usage(place).free))
        disk.folders.append(folder)
        disk.parts.update(parts)
    return Needs(list(disks.values()), unknown)


def check(run: ResolvedRun) -> None:
    """Raise SegbenchError if a run needs more than is free on a disk, unless `check_disk` is off."""
    if not run.config.check_disk:
        return
    if full := [disk for disk in needs(run).disks if disk.need > disk.free]:
        fetching = "`keep_archives: false`, " * run.config.keep_archives
        raise SegbenchError(
            "the run does not fit on the disk\n  " + "\n  ".join(map(str, full)),
            remedy=f"free some space, or change the configuration: {fetching}`storage` on a larger disk, "
            "fewer datasets or networks; `check_disk: false` starts it all the same",
        )


def _archives(run: ResolvedRun) -> tuple[dict[str, float], list[str]]:
    """Return the bytes of each archive, and the names of those of unknown size that are needed."""
    mirror = local_path(run.config.mirror) if run.config.mirror else None
    places = [Path(run.config.archives), *([mirror] if mirror else [])]
    sizes, unknown = {}, []
    for name, archive in run.archives.items():
        found = next((place / name for place in places if (place / name).exists()), None)
        sizes[name] = found.stat().st_size if found else (archive.gigabytes or 0) * GB
        users = [d for d, entry in run.datasets.items() if name in entry.archives]
        if not (found or archive.gigabytes or all(_is_converted(run, d) for d in users)):
            unknown.append(name)
    return sizes, unknown


def _is_converted(run: ResolvedRun, dataset: str) -> bool:
    return Path(run.config.data, dataset, "dataset.json").exists()


def _cells(run: ResolvedRun) -> tuple[float, float]:
    """Return the bytes of all cells without scores, and of one checkpoint, beyond what is there."""
    total = checkpoint = checkpoints = 0.0
    finished = {path.parts[-4:-2]: path.parent for path in _scores(run)}
    size_of = cache(_size)
    for cell in run.cells:
        folder = Path(run.config.results, run.config.run, "cells", *cell.key)
        if (folder / "scores.csv").exists():
            continue
        parameters = _parameters(run, cell) if cell.recipe else 0
        like = finished.get((cell.dataset, cell.model))
        size = size_of(like) if like else MODEL * parameters + PREDICTION * _images(run, cell)
        saved = _size(folder / "checkpoint.pt")
        total += max(0.0, size - (_size(folder) - saved))
        checkpoint, checkpoints = max(checkpoint, CHECKPOINT * parameters), checkpoints + saved
    return total, max(0.0, checkpoint - checkpoints)


def _parameters(run: ResolvedRun, cell: PlannedCell) -> int:
    """Return the number of parameters as counted with the cell's options, else that of the card."""
    spec = CellSpec.model_validate_json(cell.spec)
    network = Network(class_path=spec.class_path, options=dict(spec.options), task=spec.task)
    if counted := known(network):
        return counted.parameters
    card = run.models[cell.model].size
    return card.parameters if card else 0


def _scores(run: ResolvedRun) -> Iterator[Path]:
    """Yield the scores of finished cells, from all runs in the results folder."""
    yield from Path(run.config.results).glob("*/cells/*/*/seed*/scores.csv")


def _size(*paths: Path) -> int:
    """Return the bytes of files and of those in folders; hard links count once, missing paths nothing."""
    files = [file for path in paths for file in (path, *path.rglob("*")) if file.is_file()]
    return sum({(stat.st_dev, stat.st_ino): stat.st_size for stat in map(Path.stat, files)}.values())


def _images(run: ResolvedRun, cell: PlannedCell) -> int:
    """Return the number of images that a cell predicts."""
    entry, folds = run.datasets[cell.dataset], run.config.folds_of(cell.dataset)
    images = entry.images or entry.options.get("images")  # generated datasets state them as an option
    if not (images and isinstance(images, dict)):
        return IMAGES
    return sum(images.values()) // folds if folds else [*images.values()][-1]


def _gb(size: float) -> str:
    return f"{size / GB:.3g} GB" if size >= 0.001 * GB else f"{size / 1e6:.2g} MB"


def _existing(path: Path) -> Path:
    return next(p for p in (path.absolute(), *path.absolute().parents) if p.exists())
