"""Plots of the report. Each network has one colour and marker in all plots; labels replace legends."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import cycle
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator

from segbench.contract.run import RunDescription
from segbench.contract.view import Task
from segbench.report.tables import DERIVED, header, main_scores, metrics_of, repetitions

PALETTE = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#7F6A55")
"""Okabe and Ito's colours, safe for all kinds of colour vision, without yellow, which is too light on white.
"""
MARKERS = "osD^vPX"
INK, FAINT, RULE = "#22252b", "#6b7280", "#d5d9e0"
RC: dict[Any, Any] = {
    "font.family": "DejaVu Sans",
    "font.size": 10,
    "text.color": INK,
    "axes.edgecolor": RULE,
    "axes.labelcolor": INK,
    "axes.titlesize": 11,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": RULE,
    "grid.linewidth": 0.6,
    "xtick.color": FAINT,
    "ytick.color": FAINT,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "text.parse_math": False,
    "figure.constrained_layout.use": True,
    "svg.hashsalt": "segbench",
    "savefig.dpi": 144,
}


@dataclass(frozen=True)
class Plot:
    """A plot that has been drawn. `stem` is its file name without suffix."""

    kind: str
    dataset: str
    task: Task | None
    stem: str
    caption: str


@dataclass(frozen=True)
class Look:
    """Colour and marker of a network."""

    color: str
    marker: str


def looks(run: RunDescription) -> dict[str, Look]:
    """Assign a look to each network. From the eighth network on, colours repeat with another marker."""
    pairs = zip(cycle(PALETTE), (m for m in cycle(MARKERS) for _ in PALETTE))
    return {model: Look(*pair) for model, pair in zip(run.networks, pairs)}


def draw(
    run: RunDescription,
    scores: pd.DataFrame,
    tables: Mapping[tuple[str, Task], pd.DataFrame],
    folder: Path,
) -> list[Plot]:
    """Write all plots of a run to `folder`, in every format of the report options.

    Args:
        scores: See `segbench.report.summarise.collect`.
        tables: Comparisons by dataset and task; see `segbench.report.tables.compare`.
    """
    return draw_figures(run, _figures(run, scores, tables), folder)


def draw_figures(run: RunDescription, figures: Iterable[tuple[Plot, Figure]], folder: Path) -> list[Plot]:
    """Write figures to `folder`, in every format of the report options. They are made one after the other."""
    folder.mkdir(parents=True, exist_ok=True)
    drawn = []
    with sns.axes_style("white"), plt.rc_context(RC):
        for plot, figure in figures:
            for suffix in run.options.formats:
                figure.savefig(
                    folder / f"{plot.stem}.{suffix}",
                    transparent=suffix == "svg",
                    metadata={"Date": None} if suffix == "svg" else None,
                )
                figure.set_layout_engine("none")  # laid out once is enough
            plt.close(figure)
            drawn.append(plot)
    return drawn


def _figures(
    run: RunDescription,
    scores: pd.DataFrame,
    tables: Mapping[tuple[str, Task], pd.DataFrame],
) -> Iterator[tuple[Plot, Figure]]:
    look = looks(run)
    for (dataset, task), table in tables.items():
        metric = metrics_of(table)[0]
        rows = main_scores(run, scores, dataset, task)
        rows = rows[rows["column"] == metric]
        networks = table[~table["control"] & table[metric].notna()]
        if networks.empty:
            continue
        name, of = header(metric), f"{run.dataset_title(dataset)}, {task}"
        seed = "fold of each seed" if run.datasets[dataset].folds else "seed"
        stem = f"{dataset}_{task}"
        yield (
            Plot(
                "scores", dataset, task, f"scores_{stem}",
                f"{name} on {of}: one point for each {seed} with its 95 % interval over the images, and a "
                "bar at the mean. Dashed lines are the controls.",
            ),
            by_model(run, look, table, rows, metric),
        )  # fmt: skip
        classes = scores[
            (scores["dataset"] == dataset)
            & (scores["task"] == task)
            & (scores["metric"] == run.primary(task))
            & (scores["class"] != "")
            & scores["model"].isin(table["model"])
        ]
        if classes["class"].nunique() > 1:
            yield (
                Plot(
                    "classes", dataset, task, f"classes_{stem}",
                    f"{name.removeprefix('m')} of each class on {of}, mean over the seeds"
                    f"{' and folds' if run.datasets[dataset].folds else ''}.",
                ),
                by_class(run, classes, table["model"].tolist()),
            )  # fmt: skip
    for dataset in run.datasets:
        histories = read_histories(run, dataset)
        if not histories.empty:
            yield (
                Plot(
                    "learning", dataset, None, f"learning_{dataset}",
                    f"Training loss on {run.dataset_title(dataset)}, one line for each seed"
                    f"{' and fold' if run.datasets[dataset].folds else ''}, dotted for the "
                    "validation split. The networks minimise different losses: compare shapes, not heights.",
                ),
                learning(run, look, histories),
            )  # fmt: skip


def by_model(
    run: RunDescription, look: Mapping[str, Look], table: pd.DataFrame, rows: pd.DataFrame, metric: str
) -> Figure:
    """Plot scores on x, one row for each network, the best on top."""
    networks = table[~table["control"] & table[metric].notna()].iloc[::-1]
    figure, ax = plt.subplots(figsize=(6.2, max(3.3, 1.3 + 0.42 * len(networks))))
    for y, (_, row) in enumerate(networks.iterrows()):
        style = look[row["model"]]
        own = rows[rows["model"] == row["model"]]
        values = own["value"]
        ax.hlines([y] * len(own), own["low"], own["high"], color=style.color, lw=7, alpha=0.22)
        ax.hlines(y, 0, row[metric], color=style.color, lw=1.2, alpha=0.35)
        ax.scatter(values, [y] * len(values), color=style.color, marker=style.marker, s=34, alpha=0.55, lw=0)
        ax.vlines(row[metric], y - 0.26, y + 0.26, color=style.color, lw=2.4)
        end = own[["value", "high"]].max(axis=None)
        room = end < 0.9  # otherwise the number is above the point
        ax.annotate(
            f"{row[metric]:.3f}",
            (end if room else row[metric], y),
            xytext=(8, 0) if room else (-5, 12),
            textcoords="offset points",
            ha="left" if room else "right",
            va="center",
            weight="bold",
            color=style.color,
        )
    ax.set_yticks(
        range(len(networks)), [_name(run, r["model"], r["derived"]) for _, r in networks.iterrows()]
    )
    ax.set(xlim=(0, 1.005), ylim=(-0.6, len(networks) - 0.4), xlabel=header(metric))
    ax.tick_params(length=0)
    ax.grid(visible=False, axis="y")
    _reference_lines(ax, table[table["control"] & table[metric].notna()].set_index("model")[metric])
    return figure


def _reference_lines(ax: Axes, controls: pd.Series) -> None:
    """Draw dashed lines with names above the plot. Names that would overlap are stacked."""
    last, level = -1.0, 0
    for model, value in controls.sort_values().items():
        name = str(model).removeprefix("control_")
        level = level + 1 if value - last < 0.03 + 0.011 * len(name) else 0
        last = value
        ax.axvline(value, color=FAINT, lw=1, ls=(0, (4, 3)), zorder=0.5)
        ax.annotate(
            name,
            (value, 1),
            xycoords=("data", "axes fraction"),
            xytext=(0, 4 + 12 * level),
            textcoords="offset points",
            ha="right" if value > 0.9 else "left" if value < 0.05 else "center",
            color=FAINT,
            size=9,
        )


def by_class(run: RunDescription, rows: pd.DataFrame, order: list[str]) -> Figure:
    """Draw a heat map: one row for each class in the order of the dataset, one column for each model."""
    wide = rows.pivot_table("value", "class", "model", "mean", sort=False, dropna=False)
    wide = wide[[m for m in order if m in wide]]
    numbers = len(wide) <= 60
    cell, column = (0.32, 0.68) if numbers else (0.17, 0.45)
    figure, ax = plt.subplots(figsize=(2.4 + column * wide.shape[1], 1.1 + cell * len(wide)))
    sns.heatmap(
        wide,
        ax=ax,
        vmin=0,
        vmax=1,
        cmap=sns.light_palette(PALETTE[0], as_cmap=True),
        annot=numbers,
        fmt=".2f",
        annot_kws={"size": 8.5},
        linewidths=1 if numbers else 0,
        cbar=not numbers,
        cbar_kws=None if numbers else {"shrink": 0.3},
    )
    ax.xaxis.tick_top()
    ax.set_xticklabels(
        [short(run.title(str(m))) for m in wide], rotation=35, ha="left", rotation_mode="anchor"
    )
    ax.set_yticks(np.arange(len(wide)) + 0.5, [short(c) for c in wide.index], rotation=0)
    ax.tick_params(length=0, labelsize=9 if numbers else 6.5)
    ax.set(xlabel="", ylabel="")
    return figure


def read_histories(run: RunDescription, dataset: str) -> pd.DataFrame:
    """Read the losses of all trainings on a dataset, thinned to at most 200 points each.

    Returns:
        Columns model, seed, fold (with cross-validation), iteration, total, validation.
    """
    found = []
    for cell in run.cells:
        whole = run.folder(cell) / "history.csv"
        path = whole if whole.exists() else whole.with_name("history.partial.csv")
        if cell.dataset == dataset and path.exists():
            try:
                history = pd.read_csv(path)
            except ValueError:
                continue  # the training was killed while it wrote the first line
            if {"iteration", "total"} <= set(history):
                history = history.reindex(columns=["iteration", "total", "validation"])
                step = -(
                    -len(history) // 200
                )  # means over this many points: more points would only add noise
                history = history.groupby(history.index // step).mean()
                found.append(history.assign(**cell.model_dump(include={"model", "seed", "fold"})))
    return pd.concat(found, ignore_index=True) if found else pd.DataFrame(columns=["model", "seed"])


def learning(run: RunDescription, look: Mapping[str, Look], histories: pd.DataFrame) -> Figure:
    """Plot losses: one panel for each network, one line for each seed."""
    models = [m for m in look if m in set(histories["model"])]
    columns = min(4, len(models))
    rows = -(-len(models) // columns)
    figure, axes = plt.subplots(rows, columns, figsize=(max(2.4 * columns, 4), 2.1 * rows), squeeze=False)
    for ax, model in zip(axes.flat, models):
        own = histories[histories["model"] == model]
        for _, one in own.groupby(repetitions(own)):
            ax.plot(one["iteration"], one["total"], color=look[model].color, lw=1.3, alpha=0.8)
            seen = one.dropna(subset=["validation"])
            if not seen.empty:
                ax.plot(seen["iteration"], seen["validation"], color=INK, lw=1, ls=":")
        ax.set_title(short(run.title(model)), color=look[model].color, size=9.5)
        ax.set_ylim(bottom=0)
        ax.tick_params(length=0, labelsize=8.5)
        ax.xaxis.set_major_locator(MaxNLocator(3, integer=True))
        ax.yaxis.set_major_locator(MaxNLocator(4))
        ax.xaxis.set_major_formatter(FuncFormatter(lambda x, _: f"{x:,.0f}"))
    for ax in axes.flat[len(models) :]:
        ax.set_axis_off()
    axes[0, 0].set_ylabel("Loss")
    figure.supxlabel("Iteration", size=10, color=INK)
    return figure


def _name(run: RunDescription, model: str, derived: bool) -> str:
    return short(run.title(model)) + (f" {DERIVED}" if derived else "")


def short(text: str, limit: int = 28) -> str:
    """Shorten a text to one line."""
    text = " ".join(text.split())
    return text if len(text) <= limit else text[: limit - 1] + "…"
