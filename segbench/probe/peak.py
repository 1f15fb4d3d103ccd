"""The largest speed of this processor, measured by a short matrix product."""

from __future__ import annotations

import time

import torch

from segbench.jobs.cost.devices import Device, Format
from segbench.training.precision import has_bf16

SIDE = 1024
SECONDS = 0.15
"""Time of a measurement."""


def matmul_flops(kind: Format) -> float:
    """Return the FLOPS of the fastest of some products of two 1024 x 1024 matrices, on one thread."""
    a, b = (torch.rand(SIDE, SIDE).to(torch.bfloat16 if kind == "bf16" else torch.float32) for _ in range(2))
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        a @ b  # warms up
        fastest, began = float("inf"), time.perf_counter()
        while time.perf_counter() - began < SECONDS or fastest == float("inf"):
            started = time.thread_time()  # other processes do not count
            a @ b
            fastest = min(fastest, time.thread_time() - started)
    finally:
        torch.set_num_threads(threads)
    return 2 * SIDE**3 / fastest


def this_processor(name: str) -> Device:
    """Return the device of one core of this processor."""
    kinds: tuple[Format, ...] = ("fp32", "bf16") if has_bf16(torch.device("cpu")) else ("fp32",)
    return Device(name, False, {kind: matmul_flops(kind) / 1e12 for kind in kinds}, None)
