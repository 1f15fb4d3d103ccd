"""Plots of scores against costs, with the Pareto front of each."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from itertools import combinations

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from segbench.contract.run import RunDescription
from segbench.contract.view import Task
from segbench.report.costs import COSTS, costs_of, front, networks_of
from segbench.report.panels import FAINT, INK, Panel, canvas, round_ticks
from segbench.report.plots import Look, Plot, looks, short
from segbench.report.tables import header, metrics_of
from segbench.units import duration


def cost_figures(
    run: RunDescription, tables: Mapping[tuple[str, Task], pd.DataFrame], cells: pd.DataFrame
) -> Iterator[tuple[Plot, Figure]]:
    """Yield a plot for each dataset and task of which a cost and a score are known."""
    look = looks(run)
    for (dataset, task), table in tables.items():
        networks = networks_of(table, costs_of(cells, dataset))
        if networks.empty or not [name for name in COSTS if name in networks]:
            continue
        metric = header(metrics_of(table)[0])
        caption = (
            f"{metric} on {run.dataset_title(dataset)}, {task}, against costs (means over the cells). Large, "
            "named and on the line: the Pareto front, on which no other network scores as high and costs as "
            "little."
        )
        stem = f"cost_{dataset}_{task}"
        yield Plot("cost", dataset, task, stem, caption), against_costs(run, look, networks, metric)


def against_costs(
    run: RunDescription, look: Mapping[str, Look], networks: pd.DataFrame, metric: str
) -> Figure:
    """Plot scores over each known cost on a logarithmic axis, a panel for each cost.

    Args:
        networks: see `segbench.report.costs.networks_of`.
    """
    names = [name for name in COSTS if name in networks]
    columns = min(2, len(names))
    lines = -(-len(names) // columns)
    width, height = 210, 150
    figure, ax = canvas(columns * (width + 40) + 24, lines * (height + 48) + 14)
    low, high = networks["value"].min(), networks["value"].max()
    margin = max(0.03, 0.12 * (high - low))
    limits = max(0.0, low - margin), high + margin
    for number, name in enumerate(names):
        left = 56 + number % columns * (width + 40)
        bottom = 40 + (lines - 1 - number // columns) * (height + 48)
        points = networks.loc[networks[name] > 0, ["model", "value"]].assign(cost=networks[name])
        least, most = points["cost"].min(), points["cost"].max()
        # room for the names to the right of the points
        costs = least / 1.3, most * max(2.2, (most / least) ** 0.5 * 1.3)
        panel = Panel(ax, left, bottom, width, height, costs, limits, log=True)
        show = COSTS[name].show
        marks = {mark: show(mark).replace(".0 ", " ") for mark in ticks(*costs, times=show is duration)}
        panel.frame(marks, round_ticks(*limits, 4))
        ax.text(left + width / 2, bottom - 30, COSTS[name].title, ha="center", size=9.5)
        _points(run, look, panel, points)
    ax.text(10, 40 + (lines * (height + 48) - 48) / 2, metric, rotation=90, ha="center", va="center")
    return figure


def _points(run: RunDescription, look: Mapping[str, Look], panel: Panel, points: pd.DataFrame) -> None:
    on = front(points["value"].to_numpy(float), points["cost"].to_numpy(float))
    best = points[on].sort_values("cost")
    panel.axes.step(panel.x(best["cost"]), panel.y(best["value"]), where="post", color=FAINT, lw=1.1)
    for model, x, y, is_best in zip(points["model"], panel.x(points["cost"]), panel.y(points["value"]), on):
        size, alpha = (7, 1.0) if is_best else (4.5, 0.5)
        panel.axes.plot(x, y, look[model].marker, color=look[model].color, ms=size, alpha=alpha, mew=0)
    x = panel.x(best["cost"])
    for model, place, height in zip(best["model"], x, _apart(x, panel.y(best["value"]), 100.0, 10.5)):
        name = short(run.title(model), 22)
        panel.axes.text(place + 6, height - 7, name, va="center", color=INK, size=8)  # below the line


def ticks(low: float, high: float, *, times: bool) -> list[float]:
    """Return round costs between low and high, far enough apart for their labels."""
    if times:
        steps = [s * 1e-3 for s in (0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 50, 100, 200, 500)]
        steps += [s * unit for unit in (1, 60) for s in (1, 2, 5, 10, 20, 30)]
        steps += [s * 3600 for s in (1, 2, 5, 10)] + [s * 86400 for s in (1, 2, 5, 10, 20, 50, 100)]
    else:
        decades = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
        steps = [s * 10.0**decade for decade in decades for s in (1, 2, 5)]
    found: list[float] = []
    for step in steps:
        if low <= step <= high and not (found and step / found[-1] < (high / low) ** 0.22):
            found.append(step)
    return found


def _apart(x: np.ndarray, y: np.ndarray, width: float, gap: float) -> np.ndarray:
    """Move heights `y` so that labels of this width, starting at `x`, do not overlap but are `gap` apart."""
    y = y.astype(float).copy()
    for _ in range(50):
        for i, j in combinations(np.argsort(y, kind="stable"), 2):
            lacking = gap - (y[j] - y[i])
            if abs(x[i] - x[j]) < width and lacking > 1e-6:
                y[i] -= lacking / 2
                y[j] += lacking / 2
    return y
