"""The rank of each network on one dataset, and how stable it is."""

from __future__ import annotations

import numpy as np
import pandas as pd

from segbench.comparison import stability
from segbench.comparison.letters import letters
from segbench.comparison.pairs import parted_matrix

COLUMNS = ["model", "value", "rank", "letters", "first", "rank_low", "rank_high"]


def places(models: list[str], values: np.ndarray, pairs: pd.DataFrame, drawn: np.ndarray) -> pd.DataFrame:
    """Return a row for each network, in the order of `models`.

    Columns: model, value. rank: 1 + number of networks that are significantly better, so that networks which
    the test cannot part share a rank. letters: who shares a letter is not told apart. first: share of draws
    in which the network is first. rank_low, rank_high: its rank in 95 % of the draws.

    Args:
        models: networks in the order of their scores, the best first.
        values: their scores.
        pairs: see `segbench.comparison.pairs.pairs`.
        drawn: k x B scores on the draws; see `segbench.comparison.stability.mean_scores`.
    """
    frame = pd.DataFrame({"model": models, "value": values})
    parted = parted_matrix(pairs, models)
    # above the diagonal: a network that is better in score and parted
    frame["rank"] = 1 + np.triu(parted, 1).sum(0)
    frame["letters"] = letters(parted)
    ranks = stability.ranks(drawn)
    frame["first"] = stability.share_of_first(ranks)
    low, high = np.percentile(ranks, stability.PERCENTILES, axis=1)
    frame["rank_low"], frame["rank_high"] = low, high
    return frame[COLUMNS]
