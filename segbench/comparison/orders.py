"""Three ways to order networks over datasets, which should agree before one is believed.

mean, then rank: by the mean score, as if scores of datasets were comparable. rank, then mean: by the mean
rank. test, then rank: by the mean number of networks that are significantly better (challengeR, Wiesenfarth
et al., Scientific Reports 11, 2021).
"""

from __future__ import annotations

import pandas as pd
from scipy.stats import kendalltau

WAYS = {"mean_score": "mean, then rank", "mean_rank": "rank, then mean", "tested_rank": "test, then rank"}


def orders(scores: pd.DataFrame, tested: pd.DataFrame) -> pd.DataFrame:
    """Return mean_score, mean_rank and tested_rank of each network, and its `<way>_order`: 1 is best.

    Args:
        scores: datasets x networks, complete.
        tested: the rank of each network by the tests within a dataset, in the same form; NaN where not
        tested.
    """
    frame = pd.DataFrame(
        {
            "mean_score": scores.mean(),
            "mean_rank": scores.rank(axis="columns", ascending=False).mean(),
            "tested_rank": tested.reindex(index=scores.index, columns=scores.columns).mean(skipna=False),
        }
    )
    for way in WAYS:
        frame[f"{way}_order"] = frame[way].rank(ascending=way != "mean_score", method="min")
    return frame


def agreement(frame: pd.DataFrame) -> dict[str, float]:
    """Return Kendall's tau of each two of the orders, -1..1, for those that exist."""
    known = [way for way in WAYS if frame[way].notna().all() and len(frame) > 1]
    return {
        f"{WAYS[a]} / {WAYS[b]}": float(kendalltau(frame[f"{a}_order"], frame[f"{b}_order"]).statistic)
        for n, a in enumerate(known)
        for b in known[n + 1 :]
    }
