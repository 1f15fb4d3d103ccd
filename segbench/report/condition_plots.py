"""Plots of scores by size and number of objects, frequency of classes, and properties of images."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np
import pandas as pd
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure

from segbench.contract.run import RunDescription
from segbench.contract.view import Task
from segbench.report.conditions import CONDITIONS
from segbench.report.panels import FAINT, Panel, canvas, round_ticks
from segbench.report.plots import Look, Plot, looks, short

COLUMNS = 3
WIDTH, HEIGHT = 190, 110
"""Size of a panel in points."""


def condition_figures(
    run: RunDescription, tables: Mapping[tuple[str, Task], pd.DataFrame], found: pd.DataFrame
) -> Iterator[tuple[Plot, Figure]]:
    """Yield a plot for each dataset and task of which scores by a property are known.

    Args:
        run: the run.
        tables: comparisons, whose order of networks is that of the legend.
        found: see `segbench.report.conditions.conditions`.
    """
    look = looks(run)
    for (dataset, task), table in tables.items():
        rows = found[(found["dataset"] == dataset) & (found["task"] == task)]
        if rows.empty:
            continue
        shown = set(rows["model"])
        models = [m for m in table["model"] if m in shown and m in look]
        caption = (
            f"Scores by properties on {run.dataset_title(dataset)}, {task}. Each bin has about as many "
            "images, objects or classes, n of them; below it are its smallest and largest value."
        )
        plot = Plot("conditions", dataset, task, f"conditions_{dataset}_{task}", caption)
        yield plot, by_condition(run, look, models, rows)


def by_condition(
    run: RunDescription, look: Mapping[str, Look], models: list[str], rows: pd.DataFrame
) -> Figure:
    """Plot mean scores in bins, a panel for each property and a line for each network.

    Lines and markers of all networks are drawn at once: an artist for each takes most of the time.
    """
    names = [name for name in CONDITIONS if name in set(rows["condition"])]
    columns = min(COLUMNS, len(names))
    lines = -(-len(names) // columns)
    step, line = WIDTH + 44, HEIGHT + 74
    listed = 13.0 * len(models)
    height = max(lines * line + 8, listed + 16)
    figure, ax = canvas(columns * step + 170, height)
    segments, colors, widths = [], [], []
    marks: dict[str, list[np.ndarray]] = {}
    paints: dict[str, list[str]] = {}
    for number, name in enumerate(names):
        left, bottom = 40 + number % columns * step, height - (number // columns + 1) * line + 50
        own = rows[rows["condition"] == name]
        bins = own.drop_duplicates("bin")
        high = max(0.05, min(1.0, 1.12 * float(own["score"].max())))
        panel = Panel(ax, left, bottom, WIDTH, HEIGHT, (-0.5, len(bins) - 0.5), (0, high))
        panel.frame({}, round_ticks(0, high, 4), 8)
        condition = CONDITIONS[name]
        ax.text(left, bottom + HEIGHT + 5, condition.score, size=8.5, weight="bold")
        ax.text(left + WIDTH / 2, bottom - 40, condition.title, ha="center", size=8.5)
        places = dict(zip(bins["bin"].tolist(), panel.x(np.arange(len(bins))).tolist()))
        for x, low, top, count in zip(places.values(), bins["low"], bins["high"], bins["count"]):
            ax.text(x, bottom - 4, label(low, top), ha="center", va="top", size=7.5)
            ax.text(x, bottom - 16, f"n = {count:,}", ha="center", va="top", size=7, color=FAINT)
        for model, one in own.groupby("model", sort=False):
            if model in models:
                points = np.column_stack([one["bin"].map(places), panel.y(one["score"])])
                style = look[str(model)]
                segments.append(points)
                colors.append(style.color)
                widths.append(1.6 if model == models[0] else 0.9)
                marks.setdefault(style.marker, []).append(points)
                paints.setdefault(style.marker, []).extend([style.color] * len(points))
    for k, model in enumerate(models):
        y, style = height - 14 - 13.0 * k, look[model]
        ax.text(columns * step + 30, y, short(run.title(model), 24), va="center", size=8)
        marks.setdefault(style.marker, []).append(np.array([[columns * step + 20, y]]))
        paints.setdefault(style.marker, []).append(style.color)
    ax.add_collection(LineCollection(segments, colors=colors, linewidths=widths, alpha=0.75), autolim=False)
    for marker, parts in marks.items():
        x, y = np.concatenate(parts).T
        ax.scatter(x, y, s=14, c=paints[marker], marker=marker, linewidths=0)
    ax.set(xlim=(0, columns * step + 170), ylim=(0, height))
    return figure


def label(low: float, high: float) -> str:
    """Return the smallest and largest value of a bin, with three digits or all before the point."""
    ends = [f"{value:,.0f}" if value >= 100 else f"{value:.3g}" for value in (low, high)]
    return "–".join(dict.fromkeys(ends))
