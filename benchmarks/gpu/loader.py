"""Images per second of the loader, in this process and in others."""

from __future__ import annotations

import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks.loading import CASES, JITTER, make
from segbench.contract.recipe import Augment
from segbench.data.loading.loader import MicroBatches, SegmentationDataset, TrainingStream, training_batches
from segbench.data.loading.transforms import training_transform

BATCH = 4
WITHOUT_END = 10**6
CROP = (512, 512)


def rates(case: str, device: str, workers: int, seconds: float) -> dict[str, Any]:
    """Return the images per second of a set of `benchmarks.loading` with 0 and with `workers` processes.

    Args:
        case: name of the set.
        device: device that the images are for; those of a GPU are copied to pinned memory.
        workers: number of loader processes.
        seconds: time of each measurement, after what the processes have loaded ahead.
    """
    with tempfile.TemporaryDirectory() as folder:
        dataset = make(case, Path(folder))
        augment = Augment(scale=(0.5, 2), crop=CROP, color_jitter=JITTER)
        transform = training_transform(augment, dataset.info.mean, dataset.info.std)
        images = SegmentationDataset(dataset.split("train"), dataset.view(CASES[case][0]), transform)
        found = []
        for processes in (0, workers):
            batches = training_batches(
                TrainingStream(images, seed=0),
                MicroBatches(WITHOUT_END, BATCH, 1, 0),
                workers=processes,
                pin_memory=device != "cpu",
            )
            for _ in range(1 + 2 * processes):  # each process loads two batches ahead
                next(batches)
            count, started = 0, time.perf_counter()
            while (taken := time.perf_counter() - started) < seconds or not count:
                count += len(next(batches)[0])
            found.append(count / taken)
            del batches
    return {"images": case, "crop": CROP, "alone": found[0], "workers": workers, "with_workers": found[1]}
