"""Results of probes: files in a folder that all runs share."""

from __future__ import annotations

import re
from collections.abc import Iterable
from contextlib import suppress
from functools import cached_property
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from segbench.config.resolved_run import ResolvedRun
from segbench.errors import SegbenchError
from segbench.files import read_json, write_text
from segbench.jobs.cost.work import Network, Work

FOLDER = "probes"
"""Folder of all probes, in that of the results."""


class Memory(BaseModel):
    """Largest memory of a step, in bytes."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    resident: int
    """Main memory of the process."""
    allocated: int | None
    """Memory of the GPU in tensors; None without a GPU."""
    reserved: int | None
    """Memory of the GPU that torch holds."""


class Probe(BaseModel):
    """What a few steps of a training, and a few predictions, have cost on a device."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    work: Work
    """What was probed. `accumulate` is what the recipe says, even if it did not fit."""
    code: str
    """Fingerprint of the code of the training."""
    device: str
    """Name that the driver or the processor gives."""
    gpu: bool
    threads: int
    """Processor threads."""
    precision: str
    """fp32 or bf16."""
    steps: int
    """Number of steps that were timed."""
    accumulate: int
    """Parts of the batch in these steps: the smallest number that fits, from the recipe's on."""
    seconds: float
    """Median time of a step, without loading."""
    loading: float
    """Median time in which one process loads the images of a step."""
    flops: float
    """Operations of a step (a multiply-add counts 2)."""
    peak: float | None
    """Largest FLOPS of the device in this precision: of its data sheet, or of a matrix product on the
    processor threads. None: unknown."""
    memory: Memory
    prediction_seconds: float
    """Median time of the prediction of one image."""
    prediction_flops: float
    """Operations of it."""
    made: dict[str, Any]
    """Machine and versions."""

    @property
    def share(self) -> float | None:
        """Share of the device's largest speed that the steps reach."""
        return self.flops / self.seconds / self.peak if self.peak else None

    @property
    def fits(self) -> bool:
        """Whether the recipe's `accumulate` fits."""
        return self.accumulate == self.work.accumulate

    @property
    def name(self) -> str:
        """Name of its file: what was probed, and on what."""
        where = self.device if self.gpu else f"{self.device}-{self.threads}"
        return f"{self.work.key}-{re.sub(r'[^A-Za-z0-9]+', '_', where)}.json"


class Probes:
    """All probes of a folder.

    Args:
        folder: the folder; it need not exist.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    @cached_property
    def all(self) -> list[Probe]:
        """Probes that can be read. The newest one comes last."""
        if not self._folder.is_dir():
            return []
        found = []
        for path in sorted(self._folder.glob("*.json"), key=lambda path: path.stat().st_mtime):
            with suppress(SegbenchError, OSError, ValidationError):  # by another version
                found.append(Probe.model_validate(read_json(path)))
        return found


def nearest(work: Work, among: Iterable[Probe]) -> Probe | None:
    """Return the probe of this work, or else that of the same network whose images are most like it.

    Networks with another backbone or with other options count only if no other one was probed.
    """
    same = [one for one in among if one.work.network.class_path == work.network.class_path]
    return min(reversed(same), key=lambda one: _distance(one.work, work), default=None)


def _distance(one: Work, other: Work) -> tuple[bool, bool, bool, float]:
    pixels = one.pixels, other.pixels
    a, b = one.network, other.network
    return one.key != other.key, _backbone(a) != _backbone(b), a != b, max(pixels) / min(pixels)


def _backbone(network: Network) -> Any:
    return network.options.get("backbone")


def write(probe: Probe, folder: Path) -> Path:
    """Write a probe to the folder that runs share, and return its path."""
    path = folder / probe.name
    write_text(path, probe.model_dump_json(indent=2) + "\n")
    return path


def of_run(run: ResolvedRun) -> Probes:
    """Return the probes that a run can use."""
    return Probes(Path(run.config.results, FOLDER))
