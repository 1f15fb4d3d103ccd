"""Time and operations of a prediction."""

from __future__ import annotations

import statistics
import time
from typing import Any

import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from segbench.contract.prediction import Prediction
from segbench.prediction.inference import Predictor


class Stopwatch:
    """Measure the time of each prediction, from the image in memory to the result on the device."""

    def __init__(self, predictor: Predictor, device: torch.device) -> None:
        self._predictor, self._device = predictor, device
        self._seconds: list[float] = []
        self._flops: dict[str, Any] = {}

    def warm_up(self, image: Tensor) -> None:
        """Predict a C x H x W image without timing it, and count the operations (a multiply-add counts 2)."""
        with FlopCounterMode(display=False) as counter:
            self._predictor(image[None])
        self._flops = {"flops": counter.get_total_flops(), "flops_image": list(image.shape)}

    def __call__(self, images: Tensor) -> list[Prediction]:
        """Predict B x C x H x W images of one size; only batches of one image count for the latency."""
        self._wait()
        started = time.perf_counter()
        found = self._predictor(images)
        self._wait()
        if len(images) == 1:
            self._seconds.append(time.perf_counter() - started)
        return found

    def _wait(self) -> None:
        if self._device.type != "cpu":
            torch.get_device_module(self._device).synchronize(self._device)

    def result(self) -> dict[str, Any]:
        """Return the operations, the latencies in seconds, and the number of images that were timed."""
        return {
            **self._flops,
            "latency_median": statistics.median(self._seconds),
            "latency_mean": statistics.fmean(self._seconds),
            "latency_images": len(self._seconds),
        }
