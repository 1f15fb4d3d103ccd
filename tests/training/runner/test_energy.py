from __future__ import annotations

import stat
import time
from pathlib import Path

import pytest
from tiny_networks import make_spec

from segbench.files import read_json
from segbench.training.runner import energy, train
from segbench.training.runner.energy import GpuMeter, ProcessorMeter


@pytest.fixture
def powercap(tmp_path: Path) -> Path:
    """Counters of two processors and of a part of one, as Linux shows them."""
    for name, joules in {"intel-rapl:0": 1.0, "intel-rapl:1": 9.0, "intel-rapl:0:0": 0.5}.items():
        (tmp_path / "powercap" / name).mkdir(parents=True)
        (tmp_path / "powercap" / name / "max_energy_range_uj").write_text("9999999\n")
        tell(tmp_path / "powercap" / name, joules)
    return tmp_path / "powercap"


def tell(folder: Path, joules: float) -> None:
    (folder / "energy_uj").write_text(f"{round(joules * 1e6)}\n")


def test_the_counters_of_processors_are_added_and_wrap_around(powercap: Path) -> None:
    meter = ProcessorMeter(powercap)
    assert meter.watt_hours() == 0
    tell(powercap / "intel-rapl:0", 4.0)
    tell(powercap / "intel-rapl:0:0", 3.0)  # a part of the first
    assert meter.watt_hours() == pytest.approx(3 / 3600)
    tell(powercap / "intel-rapl:1", 2.0)  # from 9 over 10
    assert meter.watt_hours() == pytest.approx((3 + 3) / 3600)
    (powercap / "intel-rapl:1" / "energy_uj").unlink()
    assert meter.watt_hours() is None
    meter.close()


def test_without_counters_nothing_is_known(tmp_path: Path) -> None:
    assert ProcessorMeter(tmp_path).watt_hours() is None
    (tmp_path / "intel-rapl:0").mkdir()
    (tmp_path / "intel-rapl:0" / "max_energy_range_uj").write_text("often only for root")
    assert ProcessorMeter(tmp_path).watt_hours() is None


def test_power_of_gpus_is_added_over_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two GPUs of 100 and 300 W, told ten times a second."""
    program = tmp_path / "nvidia-smi"
    told = "while true; do echo 100.00; echo 300.00; sleep 0.1; done"
    program.write_text(f'#!/bin/sh\necho "$@" > {tmp_path}/arguments\n{told}\n')
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    meter = GpuMeter(["GPU-1", "GPU-2"])
    deadline = time.monotonic() + 30
    while (first := meter.watt_hours()) is None:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    began = time.monotonic()
    time.sleep(1.5)
    last, seconds = meter.watt_hours(), time.monotonic() - began
    meter.close()
    assert last is not None and 0.5 < (last - first) * 3600 / (400 * seconds) < 1.5
    assert "--id=GPU-1,GPU-2" in (tmp_path / "arguments").read_text()


@pytest.mark.parametrize("answer", ["echo '[N/A]'; sleep 5", "exit 9", "echo 100.00; exit 9"])
def test_a_gpu_that_does_not_tell(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, answer: str) -> None:
    program = tmp_path / "nvidia-smi"
    program.write_text(f"#!/bin/sh\n{answer}\n")
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    meter = GpuMeter(["GPU-1"])
    time.sleep(0.3)
    assert meter.watt_hours() is None
    meter.close()
    monkeypatch.setenv("PATH", "/nowhere")
    assert GpuMeter(["GPU-1"]).watt_hours() is None


class Steady(energy.Meter):
    """A watt-hour in each look."""

    def __init__(self, source: str = "processor") -> None:
        self.looks, self.source = 0.0, source

    def watt_hours(self) -> float | None:
        self.looks += 1
        return self.looks


def test_energy_is_added_over_the_attempts(run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def trained(name: str, meters: list[energy.Meter]) -> tuple[float | None, str | None]:
        monkeypatch.setattr(train, "energy_meter", lambda device: meters.pop(0))
        spec = make_spec("Interrupted", options={"what": "stop", "once": str(tmp_path / f"once-{name}")})
        with pytest.raises(train.Stopped):
            run(name, spec)
        run(name, spec)
        found = read_json(tmp_path / name / "training.json")
        return found["energy_wh"], found["energy_source"]

    assert trained("both", [Steady(), Steady()]) == (make_spec().recipe.iterations, "processor")
    assert trained("moved", [Steady(), Steady("GPU")]) == (None, None)
    assert trained("first", [Steady(), energy.Meter()]) == (None, None)
    assert trained("second", [energy.Meter(), Steady()]) == (None, None)
