"""All comparisons of a run in one data frame, and one table of networks x datasets."""

from __future__ import annotations

import math
from dataclasses import replace

import pandas as pd

from segbench.comparison.compare import Comparison, read_comparison
from segbench.contract.run import RunDescription
from segbench.contract.view import TASKS
from segbench.errors import SegbenchError
from segbench.report.intervals import Tables, with_intervals
from segbench.report.summarise import collect, collect_pooled, comparisons
from segbench.report.tables import (
    COSTS,
    DERIVED,
    DERIVED_NOTE,
    best_of,
    header,
    interval,
    metrics_of,
    part_of,
    score,
)
from segbench.units import NOTHING, markdown_text

INTERVALS_NOTE = (
    "In brackets: the interval of 95 % over the test images, and over the seeds if there are several."
)
KEYS = ["dataset", "task", "model", "title", "control", "derived", "status", "seeds", "planned", "primary"]


def overview(run: RunDescription) -> pd.DataFrame:
    """Return one row for each network, dataset and task, in the order of the configuration.

    Columns: those of `segbench.report.tables.compare`, and `dataset`, `task`, `title` of the model, and
    `primary`, the column that ranks the networks. Columns of standard deviations without a value are dropped.
    """
    found = collect(run)
    pooled = collect_pooled(run, found[1])
    by_contest = comparisons(run, *found, pooled)
    folder = run.root / "summary" / "comparison"
    if folder.is_dir():
        by_contest = with_intervals(by_contest, _still_true(read_comparison(folder), by_contest))
    tables = [
        table.assign(dataset=dataset, task=task, primary=metrics_of(table)[0])
        for (dataset, task), table in by_contest.items()
    ]
    if not tables:
        raise SegbenchError("has no cells", where=run.root, remedy="name datasets and models in the run")
    frame = pd.concat(tables, ignore_index=True)
    frame["title"] = frame["model"].map(run.title)
    order = [*run.networks, *run.controls]
    frame = frame.sort_values("model", key=lambda m: m.map(order.index), kind="stable", ignore_index=True)
    frame = frame.fillna({"part": ""})
    last = [*COSTS, *(["part"] if "part" in frame else []), "reason"]
    shown = frame.columns[~(frame.columns.str.endswith("_sd") & frame.isna().all())]
    scores = [column for column in shown if column not in KEYS + last]
    return frame[[*KEYS, *scores, *last]]


def _still_true(compared: Comparison, tables: Tables) -> Comparison:
    """Return a comparison without the scores that have changed since it was made."""
    now = set()
    for (dataset, task), table in tables.items():
        for column in metrics_of(table):
            values = table.get(f"{column}_pooled", table[column])
            now |= {
                (dataset, task, model, column.partition(" [")[0], round(value, 9))
                for model, value in zip(table["model"], values)
            }
    rows = compared.scores[["dataset", "task", "model", "metric", "value"]]
    kept = [(*key, round(value, 9)) in now for *key, value in rows.itertuples(index=False, name=None)]
    return replace(compared, scores=compared.scores[kept])


def to_markdown(frame: pd.DataFrame) -> str:
    """Return the primary scores of an `overview` as a Markdown table.

    It has one row for each model and one column for each dataset and task.
    """
    datasets = list(frame["dataset"].unique())
    groups = dict(iter(frame.groupby(["dataset", "task"], sort=False)))
    pairs = sorted(groups, key=lambda pair: (datasets.index(pair[0]), TASKS.index(pair[1])))
    heads, columns = [], []
    for dataset, task in pairs:
        group = groups[dataset, task]
        metric = group["primary"].iloc[0]
        best = set(best_of(group, metric).index) if (~group["control"]).sum() > 1 else set()
        heads.append(markdown_text(f"{dataset} {header(metric)}"))
        columns.append({row["model"]: _shown(row, metric, i in best) for i, row in group.iterrows()})
    lines = [["Model", *heads], ["---", *["---:"] * len(heads)]]
    for model, rows in frame.groupby("model", sort=False):
        title = markdown_text(rows["title"].iloc[0])
        name = f"*{title}*" if rows["control"].iloc[0] else title
        lines.append([name, *(column.get(model, "") for column in columns)])
    text = "\n".join("| " + " | ".join(line) + " |" for line in lines) + "\n"
    text += f"\n{DERIVED_NOTE}\n" if frame["derived"].any() else ""
    known = [column for column in frame if str(column).endswith("_low") and frame[column].notna().any()]
    return text + (f"\n{INTERVALS_NOTE}\n" if known else "")


def _shown(row: pd.Series, metric: str, best: bool) -> str:
    """Return one cell of the table: the score, or the status if there is no score."""
    if row["status"] != "ok":
        return str(row["status"])
    text = score(row[metric], row.get(f"{metric}_sd", math.nan))
    if text == NOTHING:
        return text
    bounds = interval(row.get(f"{metric}_low", math.nan), row.get(f"{metric}_high", math.nan))
    part = part_of(row)
    parts = [f"**{text}**" if best else text, bounds, part and f"({part})", DERIVED if row["derived"] else ""]
    return " ".join(part for part in parts if part)
