from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from segbench.config.resolve import resolve
from segbench.config.resolved_run import PlannedCell, ResolvedRun
from segbench.jobs import demand
from segbench.jobs.cost.counted import Counted, Line
from segbench.jobs.cost.work import Network, Work

REGISTRY = Path(__file__).parents[2] / "config"


def work(**recipe: Any) -> Work:
    keys = {"batch_size": 8, "accumulate": 1, "gpus": 1, "optimizer": "adamw", "ema": None} | recipe
    return Work(
        network=Network(class_path="own:Network", options={}, task="semantic"),
        channels=3,
        recipe=keys,
        size=(500, 1000),
        classes=20,
        things=10,
        image=(500, 1000),
        objects=8,
        object_size=50,
    )


COUNTED = Counted(
    forward=Line(fixed=0, by_pixel=1e6),
    kept=Line(fixed=0, by_pixel=2000),
    prediction=Line(fixed=0, by_pixel=1e6),
    parameters=10**7,
)


def planned(tmp_path: Path, **raw: Any) -> tuple[ResolvedRun, PlannedCell]:
    base = {"datasets": ["cityscapes"], "models": ["mask2former_resnet50"], "controls": []}
    run = resolve(
        {**base, "recipe": "standard", "data": str(tmp_path), "results": str(tmp_path), **raw},
        REGISTRY,
        check_code=False,
    )
    return run, run.cells[0]


def test_memory_without_a_gpu_follows_what_a_forward_pass_keeps() -> None:
    kept = 8 * 0.5e6 * 2000 / 1e6
    found = demand.step_memory(work(), COUNTED)
    assert found == pytest.approx(demand.PROCESS + 160 + demand.ACTIVATIONS * kept)
    halves = demand.step_memory(work(accumulate=2), COUNTED)
    assert found - halves == pytest.approx(demand.ACTIVATIONS * kept / 2)
    assert demand.step_memory(work(ema=0.999), COUNTED) - found == pytest.approx(40)
    assert demand.step_memory(work(), None) == demand.PROCESS + 6000 * 4


def test_memory_with_a_gpu_is_that_of_processes_and_batches() -> None:
    batch = 8 * 0.5 * 12
    assert demand.host_memory(work(), 0) == pytest.approx(demand.PROCESS_WITH_GPU + 3 * batch)
    more = demand.host_memory(work(), 4) - demand.host_memory(work(), 1)
    assert more == pytest.approx(3 * (demand.LOADER + 3 * batch))


def test_a_gpu_job_does_not_ask_for_the_memory_of_a_processor_training(tmp_path: Path) -> None:
    run, cell = planned(tmp_path, workers=4)
    first, fourth = (demand.Trainings(run).memory(cell, attempt) for attempt in (1, 4))
    assert 5_000 < first < 12_000
    assert fourth == pytest.approx(2.5 * first, abs=1)
    cpu, same = planned(tmp_path, workers=4, device="cpu")
    assert demand.Trainings(cpu).memory(same, 1) > first


def test_time_follows_images_pixels_and_gpus(tmp_path: Path) -> None:
    run, cell = planned(tmp_path)
    minutes = demand.Trainings(run).minutes(cell, 1)
    assert demand.START_MINUTES < minutes <= demand.MAX_MINUTES
    short = {"overrides": [{"recipe": {"iterations": 100}}]}
    run, cell = planned(tmp_path, **short)
    assert demand.Trainings(run).minutes(cell, 1) < demand.START_MINUTES + 30
    assert demand.Trainings(run).minutes(cell, 2) == 2 * demand.Trainings(run).minutes(cell, 1)


@pytest.mark.parametrize("attempt", [1, 2, 3])
def test_an_attempt_asks_for_more_than_the_one_before(attempt: int) -> None:
    assert demand.memory(None, attempt) == demand.memory(None, 1) * (attempt + 1) / 2
    assert demand.evaluation_minutes(100, attempt) == attempt * demand.evaluation_minutes(100, 1)
    assert demand.conversion_minutes(None, attempt) == 90 * attempt


def test_predictions_on_a_gpu_ask_for_less_time() -> None:
    assert demand.prediction_minutes(600, 1, 1) < demand.prediction_minutes(600, 0, 1)


def test_nothing_asks_for_more_than_a_day() -> None:
    assert demand.prediction_minutes(10**7, 0, 4) == 24 * 60


def test_a_conversion_asks_for_memory_by_process() -> None:
    assert demand.conversion_memory(4) - demand.conversion_memory(1) == 3000
    assert demand.conversion_memory(1, attempt=3) == 2 * demand.conversion_memory(1)
