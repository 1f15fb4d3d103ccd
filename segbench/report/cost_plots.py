"""Plots of scores against costs, with the Pareto front of each."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from itertools import combinations

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import NullFormatter

from segbench.contract.run import RunDescription
from segbench.contract.view import Task
from segbench.report.costs import COSTS, costs_of, front, networks_of
from segbench.report.plots import FAINT, INK, Look, Plot, looks, short
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
    """Plot scores over each known cost on a logarithmic axis.

    Args:
        networks: see `segbench.report.costs.networks_of`.
    """
    names = [name for name in COSTS if name in networks]
    columns = min(3, len(names))
    lines = -(-len(names) // columns)
    figure, axes = plt.subplots(
        lines, columns, figsize=(max(4.5, 3.3 * columns), 2.7 * lines), sharey=True, squeeze=False
    )
    margin = max(0.03, 0.12 * (networks["value"].max() - networks["value"].min()))
    top = networks["value"].max() + margin
    axes[0, 0].set_ylim(max(0, networks["value"].min() - margin), min(1.005, top) if top > 0.9 else top)
    for ax, name in zip(axes.flat, names):
        own = networks[networks[name] > 0]
        _panel(run, look, ax, own[["model", "value"]].assign(cost=own[name]), name)
    for ax in axes.flat[len(names) :]:
        ax.set_axis_off()
    for ax in axes[:, 0]:
        ax.set_ylabel(metric)
    return figure


def _panel(run: RunDescription, look: Mapping[str, Look], ax: Axes, points: pd.DataFrame, name: str) -> None:
    on = front(points["value"].to_numpy(float), points["cost"].to_numpy(float))
    best = points[on].sort_values("cost")
    ax.step(best["cost"], best["value"], where="post", color=FAINT, lw=1.1)
    for model, value, cost, is_best in zip(points["model"], points["value"], points["cost"], on):
        style = look[model]
        ax.scatter(
            cost, value, s=48 if is_best else 20, color=style.color, marker=style.marker, lw=0,
            alpha=1 if is_best else 0.5, zorder=3,
        )  # fmt: skip
    ax.set_xscale("log")
    low, high = points["cost"].min(), points["cost"].max()
    ax.set_xlim(low / 1.3, high * max(2.2, (high / low) ** 0.5 * 1.3))  # room for the names
    marks = ticks(*ax.get_xlim(), times=COSTS[name].show is duration)
    ax.set_xticks(marks, [COSTS[name].show(mark).replace(".0 ", " ") for mark in marks])
    ax.xaxis.set_minor_formatter(NullFormatter())
    ax.tick_params(which="both", length=0, labelsize=8.5)
    ax.set_xlabel(COSTS[name].title)
    place = ax.transLimits.transform  # to shares of the plot's width and height
    x, y = place(np.column_stack([np.log10(best["cost"]), best["value"]])).T
    for model, cost, height in zip(best["model"], best["cost"], _apart(x, y, 0.45, 0.075)):
        ax.annotate(
            short(run.title(model), 22),
            (cost, height),
            xycoords=("data", "axes fraction"),
            xytext=(6, 0),
            textcoords="offset points",
            va="center",
            color=INK,
            size=8,
        )


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
