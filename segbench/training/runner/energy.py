"""Energy that a training takes, as the hardware tells it: GPUs by nvidia-smi, processors by RAPL.

A GPU's is its power, read once a second. RAPL counts the microjoules of a whole processor, whatever else runs
on it (Linux: /sys/class/powercap; many systems let only root read it). What cannot be read is None.
"""

from __future__ import annotations

import shutil
import subprocess
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import torch

from segbench.training import parallel

POWERCAP = Path("/sys/class/powercap")
SECONDS = 10.0
"""Time between two looks at the counters of RAPL, which wrap around after minutes to hours."""
GPU_SECONDS = 1.0
WATT_HOUR = 3600.0


def energy_meter(device: torch.device) -> Meter:
    """Return a meter of all devices of a training; every process calls it, and process 0 measures."""
    if device.type == "cuda":
        uuid = str(torch.cuda.get_device_properties(device).uuid)  # torch leaves the prefix out
        gpus = parallel.gathered(f"GPU-{uuid.removeprefix('GPU-')}")
        return GpuMeter(gpus) if gpus else Meter()
    return ProcessorMeter(POWERCAP) if device.type == "cpu" and not parallel.rank() else Meter()


class Meter:
    """Measures nothing."""

    source: str | None = None
    """What is measured."""

    def watt_hours(self) -> float | None:
        """Return the energy since the start; None if it is not known."""
        return None

    def close(self) -> None:
        """End the measurement."""


class ProcessorMeter(Meter):
    """The energy of all processors, by the counters of RAPL.

    Args:
        root: folder of the counters, `intel-rapl:<n>`; their parts, `intel-rapl:<n>:<m>`, are not added.
    """

    source = "processor"

    def __init__(self, root: Path) -> None:
        self._joules = 0.0
        self._lock, self._ended = threading.Lock(), threading.Event()
        self._counters: dict[Path, tuple[int, int]] = {}
        with suppress(OSError, ValueError):
            for folder in sorted(root.glob("intel-rapl:[0-9]*")):
                if folder.name.count(":") == 1:
                    top = int((folder / "max_energy_range_uj").read_text())
                    self._counters[folder / "energy_uj"] = (int((folder / "energy_uj").read_text()), top)
        self._known = bool(self._counters)
        if self._known:
            threading.Thread(target=self._watch, daemon=True).start()

    def watt_hours(self) -> float | None:
        self._look()
        return self._joules / WATT_HOUR if self._known else None

    def close(self) -> None:
        self._ended.set()

    def _watch(self) -> None:
        while not self._ended.wait(SECONDS):
            self._look()

    def _look(self) -> None:
        with self._lock:
            try:
                for path, (before, top) in self._counters.items():
                    now = int(path.read_text())
                    self._joules += (now - before) % (top + 1) * 1e-6
                    self._counters[path] = (now, top)
            except (OSError, ValueError):
                self._known = False


class GpuMeter(Meter):
    """The energy of GPUs, by their power.

    Args:
        gpus: their UUIDs, as nvidia-smi writes them.
    """

    source = "GPU"

    def __init__(self, gpus: Sequence[str]) -> None:
        self._count, self._joules, self._known = len(gpus), 0.0, False
        self._process: subprocess.Popen[str] | None = None
        if (program := shutil.which("nvidia-smi")) is None:
            return
        query = ["--query-gpu=power.draw", "--format=csv,noheader,nounits"]
        times = [f"--loop-ms={round(1000 * GPU_SECONDS)}", f"--id={','.join(gpus)}"]
        with suppress(OSError):
            self._process = subprocess.Popen(
                [program, *query, *times], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
            )
            threading.Thread(target=self._read, daemon=True).start()

    def watt_hours(self) -> float | None:
        return self._joules / WATT_HOUR if self._known else None

    def close(self) -> None:
        if self._process:
            self._process.kill()
            self._process.wait()

    def _read(self) -> None:
        """Add the power of each GPU times the seconds since it was last told, until the program ends."""
        assert self._process is not None and self._process.stdout is not None
        told, watts = time.monotonic(), 0.0
        for number, line in enumerate(self._process.stdout, 1):
            try:
                watts += float(line)
            except ValueError:  # `[N/A]`: this GPU does not tell
                self._known = False
                return
            if number % self._count == 0:
                now = time.monotonic()
                self._joules += watts * (now - told)
                told, watts, self._known = now, 0.0, True
        self._known = False  # the program ended, and what follows is not measured
