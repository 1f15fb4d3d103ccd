"""What `segbench.comparison` compares: the models of each table that have a score in its first metric."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path

import pandas as pd

from segbench.comparison.contest import Contest
from segbench.contract.run import RunDescription
from segbench.contract.view import TASKS, Task
from segbench.report.tables import main_scores, metrics_of

Tables = Mapping[tuple[str, Task], pd.DataFrame]


def contests(run: RunDescription, scores: pd.DataFrame, tables: Tables) -> list[Contest]:
    """Return a contest for each table with a score.

    With cross-validation, the folds of a seed are one set of images; a seed that lacks a fold does not count.
    """
    found = []
    for (dataset, task), table in tables.items():
        column = metrics_of(table)[0]
        rows = main_scores(run, scores, dataset, task)
        rows = rows[(rows["column"] == column) & rows["value"].notna()]
        folds = run.datasets[dataset].folds or 1
        paths: dict[str, dict[int, list[Path]]] = defaultdict(lambda: defaultdict(list))
        have = set(
            zip(rows["model"], rows["seed"], rows["fold"].fillna(-1) if "fold" in rows else [-1] * len(rows))
        )
        for cell in run.cells:
            key = (cell.model, cell.seed, -1 if cell.fold is None else cell.fold)
            if cell.dataset == dataset and key in have:
                paths[cell.model][cell.seed].append(run.folder(cell) / "per_image.parquet")
        whole = {m: [own for own in seeds.values() if len(own) == folds] for m, seeds in paths.items()}
        order = [model for model in table["model"] if whole.get(model)]
        if order:
            controls = frozenset(table.loc[table["control"], "model"])
            files = {model: whole[model] for model in order}
            found.append(Contest(dataset, task, column.partition(" [")[0], files, controls))
    return found


def primary_scores(tables: Tables) -> dict[Task, pd.DataFrame]:
    """Return the scores by the metrics that rank, by task: datasets x networks, NaN where there is none.

    Datasets count on which at least two networks have a score.
    """
    found: dict[Task, dict[str, pd.Series]] = {task: {} for task in TASKS}
    for (dataset, task), table in tables.items():
        own = table[~table["control"]].set_index("model")[metrics_of(table)[0]]
        if own.notna().sum() > 1:
            found[task][dataset] = own
    return {task: pd.DataFrame(own).T for task, own in found.items() if own}
