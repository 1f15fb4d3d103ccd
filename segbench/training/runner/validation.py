"""The primary metric during a training: which images it is computed on, and what all processes agree on."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch

from segbench.contract.recipe import Inference
from segbench.contract.view import Task
from segbench.data.dataset import Split
from segbench.data.spread import spread_evenly
from segbench.files import scratch
from segbench.models.saved import Model
from segbench.training import parallel
from segbench.training.precision import Precision

log = logging.getLogger(__name__)


class Measure(Protocol):
    """See `segbench.evaluation.validation.PrimaryMetric`; the evaluation is no part of the training."""

    def count(
        self,
        model: Model,
        split: Split,
        out: Path,
        inference: Inference,
        precision: Precision,
        stopped: Callable[[], bool],
    ) -> Path | None: ...

    def pictures(self, split: Split, out: Path, task: Task) -> Mapping[str, np.ndarray]: ...

    def value(self, paths: Sequence[Path], task: Task) -> tuple[str, float]: ...


class ValidationScore:
    """Compute the metric on the same images at each validation; every process calls it.

    Args:
        measure: how the metric is computed.
        split: the validation split.
        most: maximum number of images.
        inference: how images are predicted.
        precision: device and number format.
        place: folder of the training; temporary files lie in it.
    """

    def __init__(
        self,
        measure: Measure,
        split: Split,
        most: int,
        inference: Inference,
        precision: Precision,
        place: Path,
    ) -> None:
        self._measure, self._split = measure, split
        self.images = spread_evenly(split.images, most)
        self.metric = ""
        """Name of the metric; known to process 0 after the first validation."""
        self.pictures: Mapping[str, np.ndarray] = {}
        """Pictures of the last validation by the name of their image; those of process 0."""
        self._inference, self._precision, self._place = inference, precision, place
        log.info(
            "each validation computes the primary metric on %d of %d images of the split %s",
            *(len(self.images), len(split), split.name),
        )

    def described(self) -> dict[str, Any]:
        """Return what training.json says of it."""
        return {
            "metric": self.metric,
            "split": self._split.name,
            "images": len(self.images),
            "of": len(self._split),
        }

    def __call__(self, model: Model, stopped: Callable[[], bool]) -> float | None:
        """Return the metric of a network; None if any process was told to stop before the end."""
        own = self._split.part(self.images[parallel.rank() :: parallel.size()])
        with scratch(self._place / "validation") as folder:
            path = None
            if own.images:
                path = self._measure.count(model, own, folder, self._inference, self._precision, stopped)
            if parallel.any_of(stopped())[0]:
                return None
            paths = parallel.gathered(path)
            value = 0.0
            if paths:  # process 0
                known = [path for path in paths if path]
                self.metric, value = self._measure.value(known, model.view.task)
                self.pictures = self._measure.pictures(own, folder, model.view.task)
            found = torch.tensor(value, dtype=torch.float64, device=self._precision.device)
            return parallel.summed(found).item()  # the others keep their files until it is computed
