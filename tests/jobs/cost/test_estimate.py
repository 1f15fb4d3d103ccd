"""Which source a cost comes from, and how it is scaled."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from fake_meter import FakeMeter

from segbench.config.resolve import resolve
from segbench.config.resolved_run import ResolvedRun
from segbench.jobs.cost import probes
from segbench.jobs.cost.devices import PASSES, PROCESSOR_PASSES, PROCESSOR_SHARE, SHARE, named
from segbench.jobs.cost.estimate import LOADING, Estimator
from segbench.jobs.cost.probes import Memory, Probe
from segbench.jobs.cost.work import Work

REGISTRY = Path(__file__).parents[3] / "config"
CROP = {"iterations": 100, "batch_size": 4, "augment": {"crop": [100, 200]}, "precision": "fp32"}


def resolved(tmp_path: Path, **raw: Any) -> ResolvedRun:
    base = {
        "datasets": ["vessels", "street"],
        "models": ["unet"],
        "controls": [],
        "data": str(tmp_path / "data"),
        "results": str(tmp_path),
        "overrides": [{"recipe": CROP}],
    }
    return resolve({**base, **raw}, REGISTRY, check_code=False)


def probed(work: Work, **changes: Any) -> Probe:
    fields: dict[str, Any] = {
        "work": work,
        "code": "",
        "device": "Tesla T4",
        "gpu": True,
        "threads": 1,
        "precision": "fp32",
        "steps": 10,
        "accumulate": work.accumulate,
        "seconds": 2.0,
        "loading": 0.5,
        "flops": 1e12,
        "peak": 8.1e12,
        "memory": Memory(resident=10**9, allocated=2 * 10**9, reserved=3 * 10**9),
        "prediction_seconds": 0.25,
        "prediction_flops": 1e11,
        "made": {},
    }
    return Probe(**fields | changes)


def finish(root: Path, dataset: str, **changes: Any) -> None:
    """Write what a finished training and its prediction leave."""
    folder = root / "default/cells" / dataset / "unet/seed0"
    folder.mkdir(parents=True)
    training = {
        **{"seconds": 50.0, "gpus": 1, "images": 400, "crop": [100, 200], "gpu": None},
        **{"processor": "core"},
    }
    (folder / "training.json").write_text(json.dumps(training | changes))
    (folder / "efficiency.json").write_text(json.dumps({"seconds": 8.0, "images": 16}))


def test_without_measurements_the_operations_are_counted(tmp_path: Path) -> None:
    run = resolved(tmp_path)
    found = Estimator(run, FakeMeter()).seconds(run.cells[0])
    computing = 3 * 1e6 * 20_000 / (0.1e12 * PROCESSOR_SHARE) + 2000 * 20_000 * PROCESSOR_PASSES / 10e9
    step = 4 * computing + 4 * 20_000 * LOADING
    assert (found.source, found.device) == ("estimated", "core")
    assert found.training == pytest.approx(100 * step)
    assert found.prediction > 0


def test_a_gpu_of_the_table_loads_beside_the_computation(tmp_path: Path) -> None:
    run = resolved(tmp_path, workers=1)
    found = Estimator(run, FakeMeter(), named("V100")).seconds(run.cells[0])
    step = 4 * 20_000 * (3 * 1e6 / (15.7e12 * SHARE["fp32"]) + 2000 * PASSES / 900e9)
    assert found.training == pytest.approx(100 * max(step, 4 * 20_000 * LOADING))
    assert found.device == "V100"


def test_several_gpus_share_a_step(tmp_path: Path) -> None:
    one, two = (
        resolved(tmp_path, overrides=[{"recipe": {**CROP, "gpus": gpus}}], workers=100) for gpus in (1, 2)
    )
    first, second = (Estimator(r, FakeMeter(), named("V100")).seconds(r.cells[0]) for r in (one, two))
    assert first.training == pytest.approx(2 * second.training)


def test_a_probe_is_trusted_more_than_a_count(tmp_path: Path) -> None:
    run = resolved(tmp_path)
    work = Estimator(run, FakeMeter()).figures(run.cells[0]).work
    probes.write(probed(work), tmp_path / "probes")
    meter = FakeMeter()
    found = Estimator(run, meter).seconds(run.cells[0])
    assert (found.source, found.device) == ("probe", "Tesla T4")
    assert found.training == pytest.approx(100 * (2.0 + 0.5)) and not meter.asked
    beside = resolved(tmp_path, workers=2)
    assert Estimator(beside, meter).seconds(beside.cells[0]).training == pytest.approx(100 * 2.0)


def test_a_probe_of_another_size_is_scaled_by_operations(tmp_path: Path) -> None:
    run = resolved(tmp_path)
    work = Estimator(run, FakeMeter()).figures(run.cells[0]).work
    probes.write(probed(work.model_copy(update={"size": (50, 100)})), tmp_path / "probes")
    found = Estimator(run, FakeMeter()).seconds(run.cells[0])
    assert found.training == pytest.approx(100 * 4 * (2.0 + 0.5))


def test_a_probe_of_another_device_or_network_does_not_count(tmp_path: Path) -> None:
    run = resolved(tmp_path)
    work = Estimator(run, FakeMeter()).figures(run.cells[0]).work
    probes.write(probed(work), tmp_path / "probes")
    assert Estimator(run, FakeMeter(), named("A100")).seconds(run.cells[0]).source == "estimated"
    assert Estimator(run, FakeMeter(), named("T4")).seconds(run.cells[0]).source == "probe"
    cpu = resolved(tmp_path, device="cpu")
    assert Estimator(cpu, FakeMeter()).seconds(cpu.cells[0]).source == "estimated"
    other = resolved(tmp_path, models=["fcn8s_vgg16"])
    assert Estimator(other, FakeMeter()).seconds(other.cells[0]).source == "estimated"


def test_a_measured_cell_is_trusted_most(tmp_path: Path) -> None:
    run = resolved(tmp_path)
    finish(tmp_path, "vessels")
    meter = FakeMeter()
    estimator = Estimator(run, meter)
    work = estimator.figures(run.cells[0]).work
    probes.write(probed(work, device="core", gpu=False), tmp_path / "probes")
    found = estimator.seconds(run.cells[0])
    assert found.source == "measured" and not meter.asked
    assert found.training == pytest.approx(50.0)
    assert found.prediction == pytest.approx(0.5 * estimator.figures(run.cells[0]).evaluated)
    other = estimator.seconds(run.cells[1])  # another dataset: the same operations an image here
    assert other.source == "measured" and other.training == pytest.approx(50.0)


def test_cells_of_other_runs_and_devices_are_not_measurements(tmp_path: Path) -> None:
    finish(tmp_path, "vessels", gpu="Tesla T4")
    run = resolved(tmp_path, device="cpu")
    assert Estimator(run, FakeMeter()).seconds(run.cells[0]).source == "estimated"
    other = resolved(tmp_path, run="other")
    assert Estimator(other, FakeMeter()).seconds(other.cells[0]).source == "estimated"


def test_a_finished_cell_that_the_run_no_longer_has_is_passed_over(tmp_path: Path) -> None:
    finish(tmp_path, "bubbles")
    run = resolved(tmp_path)
    assert Estimator(run, FakeMeter()).seconds(run.cells[0]).source == "estimated"


def test_broken_files_are_passed_over(tmp_path: Path) -> None:
    run = resolved(tmp_path)
    finish(tmp_path, "vessels", images="many")
    (tmp_path / "probes").mkdir()
    (tmp_path / "probes/a.json").write_text("{}")
    assert Estimator(run, FakeMeter()).seconds(run.cells[0]).source == "estimated"


def test_the_file_of_a_probe_is_named_by_work_and_device(tmp_path: Path) -> None:
    run = resolved(tmp_path)
    work = Estimator(run, FakeMeter()).figures(run.cells[0]).work
    gpu, core = probed(work), probed(work, gpu=False, device="AMD EPYC", threads=2)
    assert gpu.name == f"{work.key}-Tesla_T4.json"
    assert core.name == f"{work.key}-AMD_EPYC_2.json"
    assert gpu.share == pytest.approx(0.5 / 8.1)
    assert gpu.fits and not probed(work, accumulate=2).fits
