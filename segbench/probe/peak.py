"""The largest speed of this processor, measured by a short matrix product and a copy."""

from __future__ import annotations

import math
import time
from collections.abc import Callable

import torch

from segbench.contract.recipe import NumberFormat
from segbench.jobs.cost.devices import Device
from segbench.training.precision import TYPES, has_bf16

SIDE = 1024
SECONDS = 0.15
"""Time of a measurement."""


def matmul_flops(kind: NumberFormat) -> float:
    """Return the FLOPS of products of two 1024 x 1024 matrices, on one thread."""
    a, b = (torch.rand(SIDE, SIDE).to(TYPES[kind]) for _ in range(2))
    return 2 * SIDE**3 / _fastest(lambda: a @ b)


def copied_bytes() -> float:
    """Return the bytes that one thread reads and writes in a second while it copies 64 MB."""
    a = torch.rand(16_000_000)
    b = torch.empty_like(a)
    return 2 * a.nbytes / _fastest(lambda: b.copy_(a))


def _fastest(run: Callable[[], object]) -> float:
    """Return the processor time of the fastest of some calls on one thread; other processes do not count."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        run()  # warms up
        fastest, began = math.inf, time.perf_counter()
        while time.perf_counter() - began < SECONDS or math.isinf(fastest):
            started = time.thread_time()
            run()
            fastest = min(fastest, time.thread_time() - started)
    finally:
        torch.set_num_threads(threads)
    return fastest


def this_processor(name: str) -> Device:
    """Return the device of one core of this processor."""
    kinds: tuple[NumberFormat, ...] = ("fp32", "bf16") if has_bf16(torch.device("cpu")) else ("fp32",)
    speeds = {kind: matmul_flops(kind) / 1e12 for kind in kinds}
    return Device(name, False, speeds, copied_bytes() / 1e9, None)
