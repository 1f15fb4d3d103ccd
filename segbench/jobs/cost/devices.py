"""Devices, their largest speed and their power."""

from __future__ import annotations

import re
from collections.abc import Container, Mapping
from dataclasses import dataclass

from segbench.contract.recipe import NumberFormat
from segbench.errors import SegbenchError, nearest


@dataclass(frozen=True)
class Accelerator:
    """A kind of GPU."""

    name: str
    pattern: str
    """Regular expression for the name that the driver reports, without regard to case."""
    fp32: float
    """Largest TFLOPS in fp32, without TF32."""
    bf16: float | None
    """Largest TFLOPS in bf16 with sums in fp32, without sparsity; None: emulated."""
    bandwidth: float
    """GB/s of its memory; of the smaller one where there are two."""
    watts: float
    """Power of the whole card: the TDP of its data sheet."""
    source: str
    """Where the numbers stand."""
    fp16: float | None = None
    """As `bf16`, of the tensor cores of a GPU without bf16. With bf16, fp16 is as fast."""


_SHEET = "NVIDIA data sheet"
_PAPER = "NVIDIA architecture whitepaper"
ACCELERATORS = (
    Accelerator("P100", r"P100", 10.6, None, 732, 300, f"{_SHEET}, Tesla P100 SXM2"),
    Accelerator("V100 PCIe", r"V100-PCIE", 14.0, None, 900, 250, f"{_SHEET}, V100", 112),
    Accelerator("V100", r"V100", 15.7, None, 900, 300, f"{_SHEET}, V100 SXM2", 125),
    Accelerator("T4", r"\bT4\b", 8.1, None, 320, 70, f"{_SHEET}, T4", 65),
    Accelerator("RTX 2080 Ti", r"2080 Ti", 13.4, None, 616, 250, f"{_PAPER}, Turing", 53.8),
    Accelerator("A100 PCIe", r"A100.*PCIE", 19.5, 312, 1555, 300, f"{_SHEET}, A100 80GB PCIe"),
    Accelerator("A100", r"A100", 19.5, 312, 1555, 400, f"{_SHEET}, A100 SXM"),
    Accelerator("A30", r"\bA30\b", 10.3, 165, 933, 165, f"{_SHEET}, A30"),
    Accelerator("A40", r"\bA40\b", 37.4, 149.7, 696, 300, f"{_SHEET}, A40"),
    Accelerator("A10", r"\bA10\b", 31.2, 125, 600, 150, f"{_SHEET}, A10"),
    Accelerator("RTX A6000", r"RTX A6000", 38.7, 154.8, 768, 300, f"{_SHEET}, RTX A6000"),
    Accelerator("RTX A5000", r"RTX A5000", 27.8, 111.1, 768, 230, f"{_SHEET}, RTX A5000"),
    Accelerator("RTX 3080", r"RTX 3080(?! Ti)", 29.8, 59.5, 760, 320, f"{_PAPER}, GA102"),
    Accelerator("RTX 3090", r"RTX 3090(?! Ti)", 35.6, 71, 936, 350, f"{_PAPER}, GA102"),
    Accelerator("H100 PCIe", r"H100 PCIe", 51, 756, 2000, 350, f"{_SHEET}, H100 PCIe"),
    Accelerator("H100", r"H100", 67, 989, 3350, 700, f"{_SHEET}, H100 SXM"),
    Accelerator("H200", r"H200", 67, 989, 4800, 700, f"{_SHEET}, H200 SXM"),
    Accelerator("L4", r"\bL4\b", 30.3, 121, 300, 72, f"{_SHEET}, L4"),
    Accelerator("L40S", r"L40S", 91.6, 362, 864, 350, f"{_SHEET}, L40S"),
    Accelerator("L40", r"\bL40\b", 90.5, 181, 864, 300, f"{_SHEET}, L40"),
    Accelerator("RTX 4080", r"RTX 4080(?! SUPER)", 48.7, 97.5, 717, 320, f"{_PAPER}, Ada"),
    Accelerator("RTX 4090", r"RTX 4090", 82.6, 165.2, 1008, 450, f"{_PAPER}, Ada"),
    Accelerator("RTX 5090", r"RTX 5090", 104.8, 209.5, 1792, 575, f"{_PAPER}, RTX Blackwell"),
)
"""The first whose pattern is found in a name counts."""
SHARE: Mapping[NumberFormat, float] = {"fp32": 0.5, "bf16": 0.3, "fp16": 0.3}
"""Share of a GPU's largest speed that the operations of a training are assumed to reach, without a probe."""
PASSES = 4
"""Times that what a forward pass keeps is assumed to go through a GPU's memory in a step."""
PROCESSOR_SHARE, PROCESSOR_PASSES = 1.0, 30
"""The same on a processor: of the speed of a matrix product, and of a copy. Fitted to steps of four networks,
see docs/cost.md."""


@dataclass(frozen=True)
class Device:
    """Where a run would train."""

    kind: str
    """Name that the driver or the processor gives."""
    gpu: bool
    tflops: Mapping[NumberFormat, float]
    """Largest TFLOPS of the device: of its data sheet, or measured for one processor core."""
    bandwidth: float
    """GB/s of its memory: of its data sheet, or of a copy by one processor core."""
    watts: float | None
    """None: not in the table."""

    def seconds(self, flops: float, kept: float, precision: str, threads: int) -> float:
        """Estimate the time of operations of a training, and of the memory that they go through.

        Args:
            flops: number of operations (a multiply-add counts 2).
            kept: bytes in fp32 that forward passes keep.
            precision: `Recipe.precision`.
            threads: processor cores of a training without a GPU.
        """
        chosen = number_format(precision, self.tflops)
        peak = self.tflops.get(chosen) or self.tflops["fp32"] * 0.5  # emulated here, and slow
        if not self.gpu:
            computing = flops / (peak * 1e12 * PROCESSOR_SHARE)
            return (computing + kept * PROCESSOR_PASSES / (self.bandwidth * 1e9)) / threads
        moved = kept * PASSES * (1.0 if chosen == "fp32" else 0.5)
        return flops / (peak * 1e12 * SHARE[chosen]) + moved / (self.bandwidth * 1e9)


def number_format(precision: str, known: Container[NumberFormat]) -> NumberFormat:
    """Return the number format of `Recipe.precision` on a device with units for the `known` ones."""
    low: tuple[NumberFormat, ...] = ("bf16", "fp16")
    return next((one for one in low if precision == one or (precision == "auto" and one in known)), "fp32")


def accelerator(reported: str) -> Accelerator | None:
    """Return the entry of a GPU by the name that its driver reports, or None."""
    return next((a for a in ACCELERATORS if re.search(a.pattern, reported, re.IGNORECASE)), None)


def gpu(reported: str, known: Accelerator | None = None) -> Device:
    """Return the device of a GPU.

    Args:
        reported: name that the driver reports.
        known: its entry; None: found by the name.

    Raises:
        SegbenchError: the table does not have it.
    """
    entry = known or accelerator(reported)
    if entry is None:
        names = [a.name for a in ACCELERATORS]
        close = nearest(reported, names)
        raise SegbenchError(
            f"'{reported}' is not in the table of devices"
            + (f"; did you mean '{close}'?" if close else f" ({', '.join(names)})"),
            where="--on",
            remedy="name one of these, or run `segbench probe` on the device",
        )
    speeds: dict[NumberFormat, float] = {"fp32": entry.fp32}
    if entry.bf16:
        speeds["bf16"] = entry.bf16
    if fp16 := entry.fp16 or entry.bf16:
        speeds["fp16"] = fp16
    return Device(reported, True, speeds, entry.bandwidth, entry.watts)


def named(name: str) -> Device:
    """Return the GPU that a user names, such as `a100` or `RTX 4090`.

    Raises:
        SegbenchError: the table does not have it.
    """
    plain = {re.sub(r"\W", "", a.name.lower()): a for a in ACCELERATORS}
    entry = plain.get(re.sub(r"\W|nvidia|geforce|tesla", "", name.lower())) or accelerator(name)
    return gpu(entry.name if entry else name, entry)
