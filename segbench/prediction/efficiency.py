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
    """Measure the time of each prediction, from the image in memory to the result on the device.

    The part after the preparation (normalised, resized and copied to the device) is also measured by itself.
    With windows, scales or flips of a semantic network, this part includes their resizes and copies.

    Args:
        predictor: what predicts.
        device: its device, which is synchronised at both ends of what is timed.
        most: number of images that are timed; None: all that are predicted one by one.
    """

    def __init__(self, predictor: Predictor, device: torch.device, most: int | None = None) -> None:
        self._predictor, self._device, self._most = predictor, device, most
        self._seconds: list[float] = []
        self._network_seconds: list[float] = []
        self._prepared = 0.0
        predictor.prepared = self._mark
        self._flops: dict[str, Any] = {}

    def warm_up(self, image: Tensor) -> None:
        """Predict a C x H x W image without timing it, and count the operations (a multiply-add counts 2)."""
        with FlopCounterMode(display=False) as counter:
            self._predictor(image[None])
        self._flops = {"flops": counter.get_total_flops(), "flops_image": list(image.shape)}

    def __call__(self, images: Tensor) -> list[Prediction]:
        """Predict B x C x H x W images of one size; only batches of one image count for the latency."""
        if self._most is not None and len(self._seconds) >= self._most:
            self._predictor.prepared = lambda: None
            return self._predictor(images)
        self._wait()
        started = time.perf_counter()
        found = self._predictor(images)
        self._wait()
        if len(images) == 1:
            ended = time.perf_counter()
            self._seconds.append(ended - started)
            self._network_seconds.append(ended - self._prepared)
        return found

    def _mark(self) -> None:
        self._wait()
        self._prepared = time.perf_counter()

    def _wait(self) -> None:
        if self._device.type != "cpu":
            torch.get_device_module(self._device).synchronize(self._device)

    def result(self) -> dict[str, Any]:
        """Return the operations, the latencies in seconds, and the number of images that were timed.

        `latency_network_median` leaves out the preparation of the image.
        """
        return {
            **self._flops,
            "latency_median": statistics.median(self._seconds),
            "latency_network_median": statistics.median(self._network_seconds),
            "latency_mean": statistics.fmean(self._seconds),
            "latency_images": len(self._seconds),
        }
