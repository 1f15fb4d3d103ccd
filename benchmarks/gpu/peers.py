"""Our training step beside another library's own loop, in turns."""

from __future__ import annotations

import gc
from typing import Any

import torch

from benchmarks.steps import PAIRS, seconds
from segbench.training.precision import Precision


def compare(name: str, device: str, size: int, batch: int, steps: int) -> dict[str, Any]:
    """Return medians of our steps in the default precision, and of theirs in fp32 with torch's defaults.

    If both do not fit into the memory, the batch is halved.
    """
    precision = Precision.of("auto", torch.device(device))
    while True:
        torch.manual_seed(0)
        try:
            pair = PAIRS[name](size)
            ours, theirs = seconds(pair, size, batch, steps, precision)
            break
        except torch.OutOfMemoryError:
            if batch == 1:
                raise
            batch //= 2
        gc.collect()  # outside of the handler, whose traceback holds the tensors
        torch.cuda.empty_cache()
    return {
        "network": name,
        "library": pair.library,
        "size": size,
        "batch": batch,
        "precision": precision.name,
        "ours": ours,
        "theirs": theirs,
        "times_as_fast": theirs / ours,
    }
