"""Steps of a training: images per second, memory, and the share of the device's largest speed."""

from __future__ import annotations

import gc
import tempfile
from pathlib import Path
from typing import Any

import torch

from benchmarks.gpu.worker import NotApplicable
from segbench.contract.recipe import NumberFormat
from segbench.jobs.cost.devices import accelerator
from segbench.jobs.cost.work import Work
from segbench.probe.dataset import write_noise
from segbench.probe.fitting import smallest_that_fits
from segbench.probe.runner.probe import peak_of
from segbench.probe.runner.steps import Steps, run_steps, spec_of
from segbench.training.precision import memory_errors
from segbench.training.runner.provenance import provenance


def measure(name: str, work: Work, kind: str, compiled: bool, device: str, steps: int) -> dict[str, Any]:
    """Time some steps on noise, with the smallest `accumulate` that fits.

    Args:
        name: name of the network.
        work: its training.
        kind: number format: fp32, bf16 or fp16.
        compiled: whether torch.compile compiles it.
        device: device.
        steps: number of steps to time, after two that are not timed.
    """
    if compiled and "backbone" not in work.network.options:
        raise NotApplicable("without a backbone that torch.compile could compile")
    where = torch.device(device)

    def attempt(parts: int) -> Steps:
        spec = spec_of(work, parts)
        changes = {"precision": kind, "compile": "default" if compiled else None}
        spec = spec.model_copy(update={"recipe": spec.recipe.model_copy(update=changes)})
        with memory_errors(name, "use a smaller crop"):
            return run_steps(root, spec, where, steps)[0]

    with tempfile.TemporaryDirectory() as scratch:
        root = Path(scratch, "noise")
        write_noise(work, root)
        parts, taken = smallest_that_fits(attempt, work.batch, work.accumulate)
    gc.collect()
    if where.type == "cuda":
        torch.cuda.empty_cache()
    torch.compiler.reset()
    peak = largest_flops(where, taken.precision)
    return {
        "network": name,
        "task": work.network.task,
        "precision": taken.precision,
        "compiled": compiled,
        "size": work.size,
        "batch": work.batch,
        "accumulate": parts,
        "seconds": taken.seconds,
        "images_per_second": work.batch / taken.seconds,
        "loading": taken.loading,
        "flops": taken.flops,
        "memory": taken.memory.allocated or taken.memory.resident,
        "reserved": taken.memory.reserved,
        "share": taken.flops / taken.seconds / peak if peak else None,
    }


def largest_flops(where: torch.device, kind: NumberFormat) -> float | None:
    """Return the largest FLOPS of a device in a number format; of fp32 on GPUs since Ampere, that of TF32."""
    made = provenance(where)
    entry = accelerator(made["gpu"] or "")
    if kind == "fp32" and entry and entry.bf16:
        return entry.bf16 / 2 * 1e12  # TF32 has half of bf16's speed on all of them
    return peak_of(made["gpu"] or made["processor"], where, kind)
