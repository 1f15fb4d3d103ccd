"""Devices, their largest speed and their power."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from segbench.errors import SegbenchError, nearest

Format = Literal["fp32", "bf16"]


@dataclass(frozen=True)
class Accelerator:
    """A kind of GPU."""

    name: str
    pattern: str
    """Regular expression for the name that the driver reports, without regard to case."""
    fp32: float
    """Largest TFLOPS in fp32, without TF32."""
    bf16: float | None
    """Largest TFLOPS in bf16 with sums in fp32, without sparsity; None: emulated, so trainings use fp32."""
    watts: float
    """Power of the whole card: the TDP of its data sheet."""
    source: str
    """Where the numbers stand."""


_SHEET = "NVIDIA data sheet"
ACCELERATORS = (
    Accelerator("P100", r"P100", 10.6, None, 300, f"{_SHEET}, Tesla P100 SXM2"),
    Accelerator("V100 PCIe", r"V100-PCIE", 14.0, None, 250, f"{_SHEET}, V100"),
    Accelerator("V100", r"V100", 15.7, None, 300, f"{_SHEET}, V100 SXM2"),
    Accelerator("T4", r"\bT4\b", 8.1, None, 70, f"{_SHEET}, T4"),
    Accelerator("RTX 2080 Ti", r"2080 Ti", 13.4, None, 250, "NVIDIA Turing architecture whitepaper"),
    Accelerator("A100 PCIe", r"A100.*PCIE", 19.5, 312, 300, f"{_SHEET}, A100 80GB PCIe"),
    Accelerator("A100", r"A100", 19.5, 312, 400, f"{_SHEET}, A100 SXM"),
    Accelerator("A30", r"\bA30\b", 10.3, 165, 165, f"{_SHEET}, A30"),
    Accelerator("A40", r"\bA40\b", 37.4, 149.7, 300, f"{_SHEET}, A40"),
    Accelerator("A10", r"\bA10\b", 31.2, 125, 150, f"{_SHEET}, A10"),
    Accelerator("RTX A6000", r"RTX A6000", 38.7, 154.8, 300, f"{_SHEET}, RTX A6000"),
    Accelerator("RTX A5000", r"RTX A5000", 27.8, 111.1, 230, f"{_SHEET}, RTX A5000"),
    Accelerator("RTX 3080", r"RTX 3080(?! Ti)", 29.8, 59.5, 320, "NVIDIA GA102 architecture whitepaper"),
    Accelerator("RTX 3090", r"RTX 3090(?! Ti)", 35.6, 71, 350, "NVIDIA GA102 architecture whitepaper"),
    Accelerator("H100 PCIe", r"H100 PCIe", 51, 756, 350, f"{_SHEET}, H100 PCIe"),
    Accelerator("H100", r"H100", 67, 989, 700, f"{_SHEET}, H100 SXM"),
    Accelerator("H200", r"H200", 67, 989, 700, f"{_SHEET}, H200 SXM"),
    Accelerator("L4", r"\bL4\b", 30.3, 121, 72, f"{_SHEET}, L4"),
    Accelerator("L40S", r"L40S", 91.6, 362, 350, f"{_SHEET}, L40S"),
    Accelerator("L40", r"\bL40\b", 90.5, 181, 300, f"{_SHEET}, L40"),
    Accelerator("RTX 4080", r"RTX 4080(?! SUPER)", 48.7, 97.5, 320, "NVIDIA Ada architecture whitepaper"),
    Accelerator("RTX 4090", r"RTX 4090", 82.6, 165.2, 450, "NVIDIA Ada architecture whitepaper"),
    Accelerator("RTX 5090", r"RTX 5090", 104.8, 209.5, 575, "NVIDIA RTX Blackwell architecture whitepaper"),
)
"""The first whose pattern is found in a name counts."""
SHARE: Mapping[Format, float] = {"fp32": 0.5, "bf16": 0.15}
"""Share of the largest speed that a training is assumed to reach on a GPU, without a probe."""
PROCESSOR_SHARE: Mapping[Format, float] = {"fp32": 0.5, "bf16": 0.3}
"""The same on a processor, as a share of the speed of a matrix product."""


@dataclass(frozen=True)
class Device:
    """Where a run would train."""

    kind: str
    """Name that the driver or the processor gives."""
    gpu: bool
    tflops: Mapping[Format, float]
    """Largest TFLOPS of the device: of its data sheet, or measured for one processor core."""
    watts: float | None
    """None: not in the table."""

    @property
    def bf16(self) -> bool:
        """Whether `precision: auto` is bf16 on it."""
        return "bf16" in self.tflops

    def seconds(self, flops: float, precision: str, threads: int) -> float:
        """Estimate the time of FLOPs of a training.

        Args:
            flops: number of operations (a multiply-add counts 2).
            precision: `Recipe.precision`.
            threads: processor cores of a training without a GPU.
        """
        chosen = number_format(precision, self.bf16)
        peak = self.tflops.get(chosen) or self.tflops["fp32"] * 0.5  # bf16 is emulated here, and slow
        share = SHARE[chosen] if self.gpu else PROCESSOR_SHARE[chosen] * threads
        return flops / (peak * 1e12 * share)


def number_format(precision: str, has_bf16: bool) -> Format:
    """Return the number format of `Recipe.precision` on a device."""
    return "bf16" if precision == "bf16" or (precision == "auto" and has_bf16) else "fp32"


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
    speeds: dict[Format, float] = {"fp32": entry.fp32}
    if entry.bf16:
        speeds["bf16"] = entry.bf16
    return Device(reported, True, speeds, entry.watts)


def named(name: str) -> Device:
    """Return the GPU that a user names, such as `a100` or `RTX 4090`.

    Raises:
        SegbenchError: the table does not have it.
    """
    plain = {re.sub(r"\W", "", a.name.lower()): a for a in ACCELERATORS}
    entry = plain.get(re.sub(r"\W|nvidia|geforce|tesla", "", name.lower())) or accelerator(name)
    return gpu(entry.name if entry else name, entry)
