"""Predictions, copied from the device to the host."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from segbench.contract.prediction import Instances, Panoptic, Prediction
from segbench.copying import download


def on_host(found: Prediction[Tensor]) -> Prediction[Tensor]:
    """Copy the tensors of a prediction to the host, which waits once for all of them."""
    objects, whole = found.instances, found.panoptic
    parts: list[Any] = [found.semantic]
    if objects is not None:
        parts += [objects.scores, objects.labels, objects.masks, objects.boxes]
    if whole is not None:
        parts += [whole.segments, whole.labels, whole.scores]
    copied = iter(download(part for part in parts if isinstance(part, Tensor)))
    copies: list[Any] = [next(copied) if isinstance(part, Tensor) else part for part in parts]
    instances = Instances(*copies[1:5]) if objects is not None else None
    return Prediction(copies[0], instances, Panoptic(*copies[-3:]) if whole is not None else None)
