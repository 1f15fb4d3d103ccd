"""All comparisons of a run in one data frame, and one table of networks x datasets."""

from __future__ import annotations

import pandas as pd

from segbench.contract.run import RunDescription
from segbench.contract.view import TASKS
from segbench.errors import SegbenchError
from segbench.report.summarise import collect, collect_pooled, comparisons
from segbench.report.tables import (
    COSTS,
    DERIVED,
    DERIVED_NOTE,
    best_of,
    header,
    metrics_of,
    score,
)
from segbench.units import NOTHING, markdown_text

KEYS = ["dataset", "task", "model", "title", "control", "derived", "status", "seeds", "planned", "primary"]


def overview(run: RunDescription) -> pd.DataFrame:
    """Return one row for each network, dataset and task, in the order of the configuration.

    Columns: those of `segbench.report.tables.compare`, and `dataset`, `task`, `title` of the model, and
    `primary`, the column that ranks the networks. Columns of standard deviations without a value are dropped.
    """
    found = collect(run)
    pooled = collect_pooled(run, found[1])
    tables = [
        table.assign(dataset=dataset, task=task, primary=metrics_of(table)[0])
        for (dataset, task), table in comparisons(run, *found, pooled).items()
    ]
    if not tables:
        raise SegbenchError("has no cells", where=run.root, remedy="name datasets and models in the run")
    frame = pd.concat(tables, ignore_index=True)
    frame["title"] = frame["model"].map(run.title)
    order = [*run.networks, *run.controls]
    frame = frame.sort_values("model", key=lambda m: m.map(order.index), kind="stable", ignore_index=True)
    last = [*COSTS, "reason"]
    shown = frame.columns[~(frame.columns.str.endswith("_sd") & frame.isna().all())]
    scores = [column for column in shown if column not in KEYS + last]
    return frame[[*KEYS, *scores, *last]]


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
    return text + (f"\n{DERIVED_NOTE}\n" if frame["derived"].any() else "")


def _shown(row: pd.Series, metric: str, best: bool) -> str:
    """Return one cell of the table: the score, or the status if there is no score."""
    if row["status"] != "ok":
        return str(row["status"])
    text = score(row[metric], row.get(f"{metric}_sd", float("nan")))
    if text == NOTHING:
        return text
    return (f"**{text}**" if best else text) + (f" {DERIVED}" if row["derived"] else "")
