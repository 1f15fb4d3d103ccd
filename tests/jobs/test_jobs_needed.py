from __future__ import annotations

import pytest

from segbench.jobs.segments import jobs_needed, margin


@pytest.mark.parametrize(
    ("minutes", "limit", "start", "jobs"),
    [
        (0, 60, 1, 1),
        (59, 60, 1, 1),
        (59.1, 60, 1, 2),
        (59 + 57, 60, 1, 2),
        (59 + 57.1, 60, 1, 3),
        (68 * 24 * 60, 24 * 60, 1, 69),
        (100, 1, 5, 250),  # a start longer than the job: half of it is counted
    ],
)
def test_jobs_of_a_training(minutes: float, limit: float, start: float, jobs: int) -> None:
    assert jobs_needed(minutes, limit, start=start) == jobs


def test_the_margin_leaves_most_of_a_short_job() -> None:
    assert (margin(1), margin(24 * 60)) == (0.1, 2.0)
