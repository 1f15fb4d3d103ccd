"""Compare networks over several datasets: mean ranks, and a test if there are enough datasets."""

from __future__ import annotations

import math
from collections.abc import Mapping

import pandas as pd

from segbench.contract.view import TASKS, Task
from segbench.report.tables import metrics_of

ENOUGH_DATASETS = 6
"""Smallest number of datasets for which the chi-square approximation of Friedman's test is acceptable."""
SIGNIFICANT = 0.05


def ranks(tables: Mapping[tuple[str, Task], pd.DataFrame]) -> pd.DataFrame:
    """Return the mean rank of each network over the datasets, by task: 1 is best, ties share the mean.

    Datasets count on which at least two networks have a score. Networks without a score on each of them get
    NaN.

    Columns: task, model, mean_rank, datasets (n), p (Friedman's test over all ranked networks; NaN if n is
    below `ENOUGH_DATASETS` or fewer than three networks are ranked), worse_than (networks that are
    significantly better by Nemenyi's test where p < .05; Demšar, "Statistical comparisons of classifiers",
    JMLR 2006).
    """
    rows = []
    for task in TASKS:
        scores = {}
        for (dataset, of), table in tables.items():
            own = table[~table["control"]].set_index("model")[metrics_of(table)[0]] if of == task else None
            if own is not None and own.notna().sum() > 1:
                scores[dataset] = own
        if len(scores) < 2:
            continue
        wide = pd.DataFrame(scores).T  # datasets x networks
        whole = wide.dropna(axis="columns")
        mean = whole.rank(axis="columns", ascending=False).mean()
        p, pairs = math.nan, None
        if len(whole) >= ENOUGH_DATASETS and whole.shape[1] >= 3:
            import scikit_posthocs  # the import takes seconds, and few runs need it
            from scipy.stats import friedmanchisquare

            p = float(friedmanchisquare(*whole.to_numpy().T).pvalue)
            pairs = scikit_posthocs.posthoc_nemenyi_friedman(whole) if p < SIGNIFICANT else None
        for model in sorted(wide.columns, key=lambda m: mean.get(m, math.inf)):
            rank = mean.get(model, math.nan)
            worse = []
            if pairs is not None:
                worse = [m for m in mean.index[mean < rank] if pairs.loc[model, m] < SIGNIFICANT]
            rows.append(
                {
                    "task": task,
                    "model": model,
                    "mean_rank": rank,
                    "datasets": int(wide[model].notna().sum()),
                    "p": p,
                    "worse_than": " ".join(worse),
                }
            )
    return pd.DataFrame(rows, columns=["task", "model", "mean_rank", "datasets", "p", "worse_than"])
