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
from matplotlib.figure import Figure

from segbench.contract.run import RunDescription
from segbench.contract.view import Task
from segbench.report.panels import FAINT, INK, RULE, Panel, canvas, round_ticks
from segbench.report.tables import DERIVED, header, main_scores, metrics_of, part_of, repetitions

PALETTE = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#7F6A55")
"""Okabe and Ito's colours, safe for all kinds of colour vision, without yellow, which is too light on white.
"""
MARKERS = "osD^vPX"
LETTER = 0.017
"""Width of a letter above a plot of scores, of which 1 is the width."""
RC: dict[Any, Any] = {
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans"],
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
    "svg.fonttype": "none",  # letters as text take a fifth of the space of letters as outlines
    "savefig.dpi": 144,
}


VALIDATION_NOTE = (
    " Beside it: the score on the validation images by the metric that ranks networks of the trained task."
)


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
            & scores["model"].isin([row["model"] for _, row in table.iterrows() if not part_of(row)])
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
                    "validation split. The networks minimise different losses: compare shapes, not heights."
                    + (VALIDATION_NOTE if histories["validation_score"].notna().any() else ""),
                ),
                learning(run, look, histories),
            )  # fmt: skip


def by_model(
    run: RunDescription, look: Mapping[str, Look], table: pd.DataFrame, rows: pd.DataFrame, metric: str
) -> Figure:
    """Plot scores on x, one row for each network, the best on top."""
    networks = table[~table["control"] & table[metric].notna()].iloc[::-1]
    lines = table[table["control"] & table[metric].notna()]
    labels = [_label(row) for _, row in lines.iterrows()]
    controls = lines.set_axis(labels, axis="index")[metric].sort_values()
    names = [_name(run, model, derived) for model, derived in zip(networks["model"], networks["derived"])]
    left, step, count = 16 + 6.2 * max(map(len, names)), 26.0, len(networks)
    levels = _levels(controls)
    height = count * step + 56 + 12 * max(levels, default=0)
    figure, ax = canvas(left + 340, height)
    panel = Panel(ax, left, 38, 320, count * step, (0, 1.005), (-0.5, count - 0.5))
    panel.frame({v / 5: f"{v / 5:g}" for v in range(6)}, {})
    ax.text(left + 160, 8, header(metric), ha="center")
    points_of = {m: own.to_numpy(float) for m, own in rows.groupby("model")[["value", "low", "high"]]}
    for y, (model, value, name) in enumerate(zip(networks["model"], networks[metric], names)):
        style = look[model]
        own = points_of[model]
        place = float(panel.y(y))
        known = own[~np.isnan(own[:, 1:]).any(1)]
        ends, color = (panel.x(known[:, 1]), panel.x(known[:, 2])), style.color
        ax.hlines([place] * len(known), *ends, color=color, lw=7, alpha=0.22)
        ax.plot(panel.x([0, value]), [place] * 2, color=color, lw=1.2, alpha=0.35)
        points = panel.x(own[:, 0]), [place] * len(own)
        ax.plot(*points, style.marker, color=color, ms=6, alpha=0.55, mew=0)
        ax.plot(panel.x([value] * 2), [place - 7, place + 7], color=style.color, lw=2.4)
        end = np.fmax.reduce(own[:, [0, 2]], axis=None)
        room = end < 0.88  # otherwise the number is above the point
        ax.text(
            float(panel.x(end if room else value)) + (8 if room else -5),
            place + (0 if room else 11),
            f"{value:.3f}",
            ha="left" if room else "right",
            va="center",
            weight="bold",
            color=style.color,
        )
        ax.text(left - 8, place, name, ha="right", va="center")
    for (line, value), level in zip(controls.items(), levels):
        x, top = float(panel.x(value)), panel.bottom + panel.height
        ax.plot([x, x], [panel.bottom, top], color=FAINT, lw=1, ls=(0, (4, 3)), zorder=0.5)
        align = _align(str(line), value)
        ax.text(x, top + 4 + 12 * level, str(line), ha=align, color=FAINT, size=9)
    return figure


def _label(row: pd.Series) -> str:
    """Return the name of a control, and on how many images it was scored if not on all."""
    name = str(row["model"]).removeprefix("control_")
    return f"{name} ({part})" if (part := part_of(row)) else name


def _align(name: str, value: float) -> str:
    """Return on which side of its line the name of a control stands, so that it stays within the plot."""
    half = LETTER * len(name) / 2
    return "right" if value + half > 1.03 or value > 0.9 else "left" if value < 0.05 else "center"


def _levels(controls: pd.Series) -> list[int]:
    """Return in which line the name of each control stands, so that names do not overlap."""
    ends: list[float] = []
    found = []
    for name, value in controls.items():
        width = LETTER * len(str(name))
        start = value - {"right": width, "center": width / 2, "left": 0}[_align(str(name), value)]
        level = next((k for k, end in enumerate(ends) if end < start), len(ends))
        ends[level : level + 1] = [start + width + LETTER]
        found.append(level)
    return found


def by_class(run: RunDescription, rows: pd.DataFrame, order: list[str]) -> Figure:
    """Draw a heat map: one row for each class in the order of the dataset, one column for each model.

    Up to 60 classes have numbers; the colours go from 0 (white) to 1.
    """
    wide = rows.pivot_table("value", "class", "model", "mean", sort=False, dropna=False)
    wide = wide[[m for m in order if m in wide]]
    numbers = len(wide) <= 60
    height, width, size = (23.0, 49.0, 9.0) if numbers else (12.0, 32.0, 6.5)
    names, titles = [short(str(c)) for c in wide.index], [short(run.title(str(m))) for m in wide]
    left, slant = 12 + 0.68 * size * max(map(len, names)), 0.4 * size * max(map(len, titles))
    right, top = left + width * len(titles), 8 + height * len(names)
    figure, ax = canvas(right + 1.3 * slant, top + slant + 14)
    values = wide.to_numpy(float)
    colors = sns.light_palette(PALETTE[0], as_cmap=True)
    place = (left, right, 8.0, top)
    ax.imshow(values, colors, vmin=0, vmax=1, extent=place, aspect="auto", interpolation="none")
    ax.set(xlim=(0, right + 1.3 * slant), ylim=(0, top + slant + 14))
    for row, name in enumerate(names):
        y = top - (row + 0.5) * height
        ax.text(left - 6, y, name, ha="right", va="center", size=size)
        for column, value in enumerate(values[row] if numbers else ()):
            if not np.isnan(value):
                ink = "white" if value > 0.65 else INK
                x = left + (column + 0.5) * width
                ax.text(x, y, f"{value:.2f}", ha="center", va="center", size=8.5, color=ink)
    for column, title in enumerate(titles):
        x = left + (column + 0.5) * width
        ax.text(x, top + 5, title, rotation=35, ha="left", rotation_mode="anchor", size=size)
    return figure


def read_histories(run: RunDescription, dataset: str) -> pd.DataFrame:
    """Read the losses of all trainings on a dataset, thinned to at most 200 points each.

    Returns:
        Columns model, seed, fold (with cross-validation), iteration, total, validation, validation_score (NaN
        unless `select_by` is `metric`).
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
                history = history.reindex(columns=["iteration", "total", "validation", "validation_score"])
                step = -(
                    -len(history) // 200
                )  # means over this many points: more points would only add noise
                history = history.groupby(history.index // step).mean()
                found.append(history.assign(**cell.model_dump(include={"model", "seed", "fold"})))
    return pd.concat(found, ignore_index=True) if found else pd.DataFrame(columns=["model", "seed"])


def learning(run: RunDescription, look: Mapping[str, Look], histories: pd.DataFrame) -> Figure:
    """Plot the losses of all trainings, and the validation scores if any, in a panel for each network."""
    models = [m for m in look if m in set(histories["model"])]
    scored = set(histories.loc[histories["validation_score"].notna(), "model"])
    entries = [(m, loss) for m in models for loss in (True, False) if loss or m in scored]
    columns = min(4 if scored else 5, len(entries))  # loss and score side by side
    lines = -(-len(entries) // columns)
    width, height = 140, 92
    figure, ax = canvas(columns * (width + 40) + 20, lines * (height + 48) + 18)
    for number, (model, loss) in enumerate(entries):
        own = histories[histories["model"] == model]
        values = ["total", "validation"] if loss else ["validation_score"]
        finite = own[values].replace([np.inf, -np.inf], np.nan)
        high = float(np.fmax.reduce(finite.to_numpy(float).ravel(), initial=0.0)) or 1.0
        color = look[model].color
        left = 44 + number % columns * (width + 40)
        bottom = 32 + (lines - 1 - number // columns) * (height + 48)
        last = float(own["iteration"].max())
        panel = Panel(ax, left, bottom, width, height, (0, last), (0, 1.05 * high))
        panel.frame(round_ticks(0, last, 3), round_ticks(0, high, 3), 8)
        title = short(run.title(model), 24) if loss else "validation score"
        ax.text(left, bottom + height + 5, title, color=color, weight="bold" if loss else "normal")
        for _, one in own.groupby(repetitions(own)):
            if loss:
                ax.plot(panel.x(one["iteration"]), panel.y(one["total"]), color=color, lw=1.3, alpha=0.8)
            seen = one.dropna(subset=values[-1:])
            style = {"color": INK, "ls": ":"} if loss else {"color": color, "marker": ".", "ms": 4}
            ax.plot(panel.x(seen["iteration"]), panel.y(seen[values[-1]]), lw=1, **style)
    ax.text(44 + (columns * (width + 40) - 40) / 2, 4, "Iteration", ha="center", size=9)
    return figure


def _name(run: RunDescription, model: str, derived: bool) -> str:
    return short(run.title(model)) + (f" {DERIVED}" if derived else "")


def short(text: str, limit: int = 28) -> str:
    """Shorten a text to one line of characters that can be shown."""
    text = " ".join("".join(c if c.isprintable() else " " for c in text).split())
    return text if len(text) <= limit else text[: limit - 1] + "…"
