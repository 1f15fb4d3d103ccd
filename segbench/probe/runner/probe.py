"""The probe step: what a network costs on this device, in a file that all runs share."""

from __future__ import annotations

import logging
import tempfile
from pathlib import Path

import torch

from segbench import units
from segbench.contract.recipe import Inference, NumberFormat
from segbench.files import write_text
from segbench.jobs.cost import probes
from segbench.jobs.cost.devices import accelerator, gpu
from segbench.jobs.cost.probes import Probe
from segbench.jobs.cost.work import Work
from segbench.probe.dataset import write_noise
from segbench.probe.fitting import smallest_that_fits
from segbench.probe.peak import matmul_flops
from segbench.probe.runner.steps import STEPS, Steps, run_predictions, run_steps, spec_of
from segbench.training.loop import Training
from segbench.training.precision import memory_errors
from segbench.training.runner.lease import leased
from segbench.training.runner.provenance import provenance

log = logging.getLogger(__name__)


def probe(
    work: Work,
    out: Path,
    *,
    folder: Path,
    code: str = "",
    threads: int | None = None,
    device: str = "auto",
    steps: int = STEPS,
) -> Probe:
    """Run a few steps and predictions of a network on noise; write what they cost.

    A probe of the same work, device and code in `folder` is used again.

    Args:
        work: what to probe.
        out: file to write.
        folder: folder of the probes of all runs.
        code: fingerprint of the code of the training.
        threads: processor threads; None: as torch decides.
        device: auto, cpu, cuda or cuda:<n>.
        steps: number of steps to time.

    Raises:
        OutOfMemory: not even single images fit into memory.
        SegbenchError: the network cannot be trained, for example as a loss is not finite.
    """
    if threads:
        torch.set_num_threads(threads)
    with leased(device) as (where,):
        if where.type == "cuda":
            torch.cuda.set_device(where)
        made = provenance(where)
        kind = made["gpu"] or made["processor"]
        same = (one for one in probes.Probes(folder).all if (one.work, one.device) == (work, kind))
        for one in same:
            if (one.code, one.threads) == (code, torch.get_num_threads()):
                log.info("probed before, see %s", folder / one.name)
                write_text(out, one.model_dump_json(indent=2) + "\n")
                return one
        found = _measured(work, code, where, kind, made, steps)
    probes.write(found, folder)
    write_text(out, found.model_dump_json(indent=2) + "\n")
    log.info("%s", summary(found))
    return found


def _measured(
    work: Work, code: str, where: torch.device, kind: str, made: dict[str, object], steps: int
) -> Probe:
    def attempt(parts: int) -> tuple[Steps, Training]:
        name = work.network.class_path
        with memory_errors(f"probing {name}", "use a smaller batch_size or crop, or more accumulate"):
            return run_steps(root, spec_of(work, parts), where, steps)

    with tempfile.TemporaryDirectory() as scratch:
        root = Path(scratch, "noise")
        write_noise(work, root)
        parts, (taken, training) = smallest_that_fits(attempt, work.batch, work.accumulate)
        predicted = run_predictions(training, Inference.model_validate(work.recipe["inference"]))
    return Probe(
        work=work,
        code=code,
        device=kind,
        gpu=where.type == "cuda",
        threads=torch.get_num_threads(),
        precision=taken.precision,
        steps=steps,
        accumulate=parts,
        seconds=taken.seconds,
        loading=taken.loading,
        flops=taken.flops,
        peak=peak_of(kind, where, taken.precision),
        memory=taken.memory,
        prediction_seconds=predicted["latency_median"],
        prediction_flops=predicted["flops"],
        made=made,
    )


def peak_of(kind: str, where: torch.device, precision: NumberFormat) -> float | None:
    """Return the largest FLOPS of a device: of its data sheet, or of a matrix product on all threads."""
    if where.type == "cpu":
        return matmul_flops(precision) * torch.get_num_threads()
    entry = accelerator(kind)
    sheet = gpu(kind, entry).tflops.get(precision) if entry else None
    return sheet and sheet * 1e12


def summary(found: Probe) -> str:
    """Return what a probe has found, in one line."""
    memory = found.memory.allocated or found.memory.resident
    share = f", {found.share:.0%} of its largest speed" if found.share else ""
    fits = "" if found.fits else f"; accumulate: {found.accumulate} fits, {found.work.accumulate} does not"
    return (
        f"{found.work.network.class_path} on {found.device}: {units.duration(found.seconds)} a step of"
        f" {found.work.batch} images ({units.duration(found.loading)} to load them in one process),"
        f" {units.memory(memory)}{share}; {units.duration(found.prediction_seconds)} for a prediction{fits}"
    )
