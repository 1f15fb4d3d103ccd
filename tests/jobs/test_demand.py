from __future__ import annotations

import pytest

from segbench.contract.recipe import Recipe
from segbench.jobs import demand


def recipe(**more: object) -> Recipe:
    return Recipe.model_validate(
        {"iterations": 1000, "batch_size": 8, "augment": {"crop": [500, 1000]}} | more
    )


def test_memory_follows_the_pixels_of_a_forward_pass() -> None:
    assert demand.training_memory(recipe(), 0, 1) == 4000 + 6000 * 4
    assert demand.training_memory(recipe(accumulate=4), 0, 1) == 4000 + 6000
    assert demand.training_memory(recipe(accumulate=4, gpus=2), 3, 1) == 2 * (4000 + 3000) + 6000


def test_time_follows_all_pixels_and_the_device() -> None:
    pixels = 0.5 * 8 * 1000
    assert demand.training_minutes(recipe(), 1, 1, 1) == round(30 + pixels / 60)
    assert demand.training_minutes(recipe(), 1, 2, 1) == round(30 + pixels / 2 / 60)
    assert demand.training_minutes(recipe(iterations=10), 4, 0, 1) == round(30 + 40 / 0.08 / 60)
    assert demand.prediction_minutes(600, 1, 1) < demand.prediction_minutes(600, 0, 1)


@pytest.mark.parametrize("attempt", [1, 2, 3])
def test_an_attempt_asks_for_more_than_the_one_before(attempt: int) -> None:
    first = demand.training_memory(recipe(), 0, 1)
    assert demand.training_memory(recipe(), 0, attempt) == first * (attempt + 1) / 2
    assert demand.evaluation_minutes(100, attempt) == attempt * demand.evaluation_minutes(100, 1)
    assert demand.conversion_minutes(None, attempt) == 90 * attempt


def test_nothing_asks_for_more_than_a_day() -> None:
    assert demand.training_minutes(recipe(iterations=10**7), 1, 1, 4) == 24 * 60


def test_a_conversion_asks_for_memory_by_process() -> None:
    assert demand.conversion_memory(4) - demand.conversion_memory(1) == 3000
    assert demand.conversion_memory(1, attempt=3) == 2 * demand.conversion_memory(1)
