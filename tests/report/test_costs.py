"""Costs: Pareto fronts and the best network under a limit."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
from fake_run import make_run
from hypothesis import given
from hypothesis import strategies as st

from segbench.contract.run import RunDescription
from segbench.report.cost_plots import _apart, ticks
from segbench.report.costs import best_under, costs_of, front, fronts
from segbench.report.summarise import collect, comparisons
from segbench.report.tables import metrics_of


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> RunDescription:
    path: Path = make_run(tmp_path_factory.mktemp("run"), datasets=("street",), images=1, size=(40, 60))
    return RunDescription.read(path)


def test_the_front_by_hand():
    scores = np.array([0.9, 0.8, 0.8, 0.7, 0.95, math.nan])
    costs = np.array([10.0, 5.0, 6.0, 5.0, math.nan, 1.0])
    assert front(scores, costs).tolist() == [True, True, False, False, False, False]
    equal = np.array([0.5, 0.5]), np.array([2.0, 2.0])
    assert front(*equal).tolist() == [True, True]


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(1, 5)), min_size=1, max_size=12))
def test_each_point_is_on_the_front_or_dominated_by_one_that_is(points):
    scores, costs = np.array(points, float).T
    on = front(scores, costs)
    for i, (score, cost) in enumerate(points):
        others = [(s, c) for s, c in points if s >= score and c <= cost and (s, c) != (score, cost)]
        assert on[i] == (not others)
    assert on.any()


def test_costs_are_means_over_the_cells(run):
    _, cells = collect(run)
    found = costs_of(cells, "street")
    unet = cells[(cells["model"] == "unet")]
    assert found.loc["unet", "train_seconds"] == pytest.approx(unet["train_seconds"].mean())
    assert "train_peak_memory" not in found, "it was not measured"
    assert not set(run.controls) & set(found.index)


def test_limits_part_the_networks_and_each_has_its_best(run):
    scores, cells = collect(run)
    tables = comparisons(run, scores, cells)
    found = best_under(run, tables, cells)
    heads = found["heads"]
    assert heads[0] == "Any cost" and "Latency per image ≤ 100 ms" in heads
    assert "Parameters ≤ 30 M" not in heads and "Parameters ≤ 100 M" in heads, "none has 30 M or less"
    for row in found["rows"]:
        table = tables[row["dataset"], row["task"]]
        assert row["best"][0]["score"] == f"{table[metrics_of(table)[0]].iloc[0]:.3f}"
        under = row["best"][heads.index("Latency per image ≤ 100 ms")]
        fast = table[~table["control"] & (table["predict_latency_median"] <= 0.1)]
        assert under["title"].removesuffix(" †") == run.title(fast["model"].iloc[0])


def test_fronts_count_datasets(run):
    scores, cells = collect(run)
    found = {group["task"]: group for group in fronts(run, comparisons(run, scores, cells), cells)}
    rows = {row["title"]: row for row in found["panoptic"]["rows"]}
    best = rows["mask2former_resnet50"]
    assert best["datasets"] == 1 and set(best["on"]) == {1}, "the best is on every front"
    assert all(max(row["on"]) <= row["datasets"] for row in rows.values())


def test_a_run_without_costs_has_no_tables(run):
    scores, cells = collect(run)
    cells = cells[[c for c in cells if not c.startswith(("train_", "predict_"))]]
    tables = comparisons(run, scores, cells)
    assert fronts(run, tables, cells) == [] and best_under(run, tables, cells)["rows"] == []


@pytest.mark.parametrize("times", [True, False])
@pytest.mark.parametrize(("low", "high"), [(0.5, 3), (20, 400), (100, 200), (3000, 500_000)])
def test_ticks_are_few_and_inside(low: float, high: float, times: bool):
    found = ticks(low, high, times=times)
    assert 1 <= len(found) <= 6
    assert all(low <= t <= high for t in found)


def test_labels_that_would_touch_move_apart():
    x, y = np.array([0.1, 0.15, 0.2, 0.2, 0.9]), np.array([0.5, 0.5, 0.51, 0.9, 0.5])
    moved = _apart(x, y, width=0.3, gap=0.1)
    assert (np.diff(moved[:4]) > 0.099).all()
    assert moved[3:] == pytest.approx(y[3:]), "nothing is near them"
