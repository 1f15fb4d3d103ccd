"""Add to comparison tables what `segbench.comparison` found: intervals, ranks and tie groups."""

from __future__ import annotations

import math
from collections.abc import Mapping

import pandas as pd

from segbench.comparison.compare import Comparison
from segbench.contract.view import Task
from segbench.report.tables import metrics_of

Tables = Mapping[tuple[str, Task], pd.DataFrame]


def with_intervals(tables: Tables, compared: Comparison) -> dict[tuple[str, Task], pd.DataFrame]:
    """Return the tables with further columns, which are NaN or "" where there is none.

    For each metric `<metric>_low` and `<metric>_high`, the 95 % interval; with cross-validation that of the
    score over all folds. `rank` and `letters`: see `segbench.comparison.places`.
    """
    found = {}
    for (dataset, task), table in tables.items():
        table = table.copy()
        own = _of(compared.scores, dataset, task).set_index(["model", "metric"])
        for column in metrics_of(table):
            metric = column.partition(" [")[0]
            keys = pd.MultiIndex.from_product([table["model"], [metric]])
            for end in ("low", "high"):
                values = own[end].reindex(keys).to_numpy(float)
                table[f"{column}_{end}"] = pd.Series(values, table.index).where(table[column].notna())
        places = _of(compared.places, dataset, task)
        ranks, letters = (dict(zip(places["model"], places[c])) for c in ("rank", "letters"))
        table["rank"] = [float(ranks.get(model, math.nan)) for model in table["model"]]
        table["letters"] = [letters.get(model, "") for model in table["model"]]
        found[dataset, task] = table
    return found


def _of(frame: pd.DataFrame, dataset: str, task: Task) -> pd.DataFrame:
    return frame[(frame["dataset"] == dataset) & (frame["task"] == task)]
