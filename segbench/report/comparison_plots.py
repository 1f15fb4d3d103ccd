"""Plots of comparisons: critical differences, ranks by metric, and differences from a baseline."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import combinations
from textwrap import fill

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from scipy.stats import kendalltau

from segbench.comparison.compare import Comparison
from segbench.comparison.pairs import ALPHA
from segbench.contract.run import RunDescription
from segbench.contract.scores import LOWER_IS_BETTER
from segbench.contract.view import Task
from segbench.report.panels import FAINT, INK, Panel, canvas
from segbench.report.plots import Look, Plot, looks, short
from segbench.report.tables import header, metrics_of


def comparison_figures(
    run: RunDescription, tables: Mapping[tuple[str, Task], pd.DataFrame], compared: Comparison
) -> Iterator[tuple[Plot, Figure]]:
    """Yield all plots of comparisons that the run has data for.

    Args:
        tables: see `segbench.report.tables.compare`.
        compared: see `segbench.comparison.compare.compare`.
    """
    look = looks(run)
    for (dataset, task), table in tables.items():
        of = f"{run.dataset_title(dataset)}, {task}"
        ranks = metric_ranks(table)
        tau = least_agreement(ranks)
        if tau is not None and tau < 1:
            caption = (
                f"Rank by metric on {of}. The metrics disagree on the order of the networks: Kendall's tau "
                f"of the two least alike is {tau:.2f}."
            )
            yield Plot("metrics", dataset, task, f"metrics_{dataset}_{task}", caption), bump(run, look, ranks)
        base = compared.baseline
        base = base[(base["dataset"] == dataset) & (base["task"] == task)]
        if not base.empty:
            title = run.title(str(run.options.baseline))
            caption = (
                f"{header(metrics_of(table)[0])} minus that of {title} on {of}, with intervals of 95 %. "
                "Filled: told apart after Holm's correction. Grey band: the margin of practical equivalence."
            )
            stem = f"baseline_{dataset}_{task}"
            yield Plot("baseline", dataset, task, stem, caption), differences(run, look, base)
    for task in compared.tests.loc[compared.tests["critical"].notna(), "task"]:
        networks = compared.networks[(compared.networks["task"] == task) & compared.networks["ranked"]]
        own = compared.matrix[compared.matrix["task"] == task]
        if own.empty:
            continue
        caption = (
            f"Mean ranks over the datasets ({task}); 1 is best. Networks on one bar are not told apart "
            "(Friedman's and Nemenyi's tests, p < .05)."
        )
        yield Plot("critical", "", task, f"critical_{task}", caption), critical(run, look, networks, own)


def metric_ranks(table: pd.DataFrame) -> pd.DataFrame:
    """Return the rank of each network by each metric of a table, networks x metrics; 1 is best."""
    own = table[~table["control"]].set_index("model")
    columns = [m for m in metrics_of(table) if own[m].notna().sum() > 1]
    own = own[columns].dropna()
    lower = [m.partition(" [")[0] in LOWER_IS_BETTER for m in columns]
    return pd.DataFrame({m: own[m].rank(ascending=low) for m, low in zip(columns, lower)}, own.index)


def least_agreement(ranks: pd.DataFrame) -> float | None:
    """Return the smallest Kendall's tau of two metrics; None if there are fewer than two, or one network."""
    if len(ranks) < 2 or ranks.shape[1] < 2:
        return None
    taus = [kendalltau(ranks[a], ranks[b]).statistic for a, b in combinations(ranks, 2)]
    known = [tau for tau in taus if not np.isnan(tau)]
    return round(float(min(known)), 6) if known else None


def bump(run: RunDescription, look: Mapping[str, Look], ranks: pd.DataFrame) -> Figure:
    """Draw a line for each network through its ranks by the metrics."""
    count, metrics = len(ranks), list(ranks)
    last = len(metrics) - 1
    width, height = 82.0 * max(last, 1), 18.0 * count
    figure, ax = canvas(width + 240, height + 60)
    panel = Panel(ax, 44, 46, width, height, (0, max(last, 1)), (count + 0.5, 0.5))
    columns: dict[float, str] = {k: fill(header(str(m)), 14) for k, m in enumerate(metrics)}
    panel.frame(columns, {k: str(k) for k in range(1, count + 1)})
    ax.text(12, 46 + height / 2, "Rank", rotation=90, ha="center", va="center")
    # networks that share a rank get places next to each other for their names
    heights = panel.y(ranks.iloc[:, -1].rank(method="first"))
    for model, own, y in zip(map(str, ranks.index), ranks.to_numpy(), heights):
        style, places = look[model], panel.x(range(len(metrics)))
        ax.plot(places, panel.y(own), color=style.color, marker=style.marker, lw=1.6, ms=5.5, alpha=0.9)
        ax.text(places[-1] + 9, y, short(run.title(model)), va="center", color=style.color, size=8.5)
    return figure


def differences(run: RunDescription, look: Mapping[str, Look], rows: pd.DataFrame) -> Figure:
    """Draw the difference of each network from the baseline with its interval, the best on top."""
    rows = rows.iloc[::-1]
    figure, ax = plt.subplots(figsize=(6.2, max(2.2, 1.0 + 0.3 * len(rows))))
    margin = run.options.equivalent
    ax.axvspan(-margin, margin, color=FAINT, alpha=0.18, lw=0)
    ax.axvline(0, color=INK, lw=1)
    for y, row in enumerate(rows.to_dict("records")):
        style = look[row["model"]]
        ax.hlines(y, row["low"], row["high"], color=style.color, lw=2, alpha=0.7)
        face = style.color if row["parted"] else "white"
        ax.plot(row["difference"], y, style.marker, color=style.color, mfc=face, ms=6.5, mew=1.6)
    ax.set_yticks(range(len(rows)), [short(run.title(m)) for m in rows["model"]])
    ax.set(ylim=(-0.6, len(rows) - 0.4), xlabel="Difference")
    ax.tick_params(length=0)
    ax.grid(visible=False, axis="y")
    return figure


def critical(
    run: RunDescription, look: Mapping[str, Look], networks: pd.DataFrame, matrix: pd.DataFrame
) -> Figure:
    """Draw a critical-difference diagram (Demsar, JMLR 7, 2006)."""
    import scikit_posthocs  # the import takes seconds, and few runs need it

    titles = networks["model"].map(lambda m: short(run.title(m), 24))
    names = dict(zip(networks["model"], titles.where(~titles.duplicated(keep=False), networks["model"])))
    ranks = pd.Series(networks["mean_rank"].to_numpy(), [names[m] for m in networks["model"]])
    p = matrix.pivot(index="a", columns="b", values="p").reindex(index=[*names], columns=[*names]).fillna(1.0)
    p.index, p.columns = ranks.index, ranks.index
    figure, ax = plt.subplots(figsize=(8.4, 1.2 + 0.14 * len(ranks)))
    ax.grid(visible=False)
    scikit_posthocs.critical_difference_diagram(
        ranks,
        p,
        alpha=ALPHA,
        ax=ax,
        label_fmt_left="{label} {rank:.2f}",
        label_fmt_right="{rank:.2f} {label}",
        label_props={"size": 8.5},
        color_palette={names[m]: look[m].color for m in names},
        elbow_props={"linewidth": 1.2},
        crossbar_props={"color": INK, "linewidth": 2.4},
        text_h_margin=0.02,
    )
    return figure
