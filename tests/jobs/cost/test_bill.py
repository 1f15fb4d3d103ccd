from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from segbench.jobs.cost.bill import Item, Terms, lines, number
from segbench.jobs.cost.estimate import Seconds


def item(
    dataset: str = "a", model: str = "x", training: float = 7200, prediction: float = 360, gpus: int = 2
) -> Item:
    return Item(dataset, model, Seconds(training, prediction, "probe", "T4"), True, gpus)


def test_device_hours_count_every_gpu_and_the_prediction() -> None:
    one = item()
    assert (one.training, one.prediction) == (4.0, 0.1)
    assert one.hours == pytest.approx(4.1) and one.wall == pytest.approx(2.1)


def test_jobs_follow_the_time_limit() -> None:
    assert item().jobs(24 * 60) == 2
    assert item(training=60 * 3600).jobs(24 * 60) == 4


def test_tables_by_network_and_dataset_with_totals_energy_and_price() -> None:
    items = [item(), item(dataset="b"), item(model="y", gpus=1)]
    text = list(lines(items, Terms(1440, 500.0, 2.5)))
    rows = {row.split()[0]: row.split() for row in text}
    assert rows["x"] == ["x", "2", "8", "0.2", "8.2", "2.1", "4.1", "4", "20.50", "probe"]
    assert rows["a"] == ["a", "2", "6", "0.2", "6.2", "2.1", "3.1", "4", "15.50", "probe"]
    assert rows["total"] == ["total", "3", "10", "0.3", "10.3", "2.1", "5.15", "6", "25.75", "probe"]
    assert any("a bound" in row for row in text)
    plain = list(lines(items, Terms(1440, None, None)))
    assert "kWh" not in plain[0] and "price" not in plain[0]


@given(st.lists(st.tuples(st.sampled_from("ab"), st.sampled_from("xy"), st.floats(0, 1e7)), min_size=1))
def test_both_tables_have_the_same_total(parts: list[tuple[str, str, float]]) -> None:
    items = [item(d, m, seconds) for d, m, seconds in parts]
    heads = {"cost", "total", "jobs:", "energy:"}
    rows = [row.split() for row in lines(items, Terms(1440, None, None))]
    kinds = [[r for r in rows if r[0] in names] for names in ("ab", "xy")]
    total = next(int(r[6]) for r in rows if r[0] == "total")
    assert all(sum(int(r[6]) for r in kind) == total for kind in kinds)
    assert {r[0] for r in rows} <= heads | {*"abxy"}


def test_numbers_have_no_exponent() -> None:
    assert [number(v) for v in (0, 0.00004, 0.0123, 3.14159, 1234567.0)] == [
        *("0.0000", "0.0000", "0.0123", "3.14", "1234567"),
    ]
