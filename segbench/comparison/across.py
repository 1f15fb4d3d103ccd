"""Compare the networks of one task over all datasets."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations

import numpy as np
import pandas as pd

from segbench.comparison import stability
from segbench.comparison.orders import orders
from segbench.comparison.rank_tests import RankTest, rank_test
from segbench.contract.view import Task

NETWORKS = [
    "task", "model", "datasets", "ranked", "mean_rank", "mean_score", "tested_rank", "mean_rank_order",
    "mean_score_order", "tested_rank_order", "first",
]  # fmt: skip
MATRIX = ["task", "a", "b", "wins", "ties", "losses", "improvement", "low", "high", "p"]


@dataclass(frozen=True)
class Drawn:
    """The scores of the networks of one contest on all draws, and the drawn seeds."""

    models: list[str]
    draws: list[np.ndarray]
    weights: list[np.ndarray]
    means: np.ndarray
    """See `segbench.comparison.stability`."""

    def of(self, models: list[str]) -> tuple[list[np.ndarray], list[np.ndarray]]:
        """Return the draws and weights of some models."""
        at = [self.models.index(model) for model in models]
        return [self.draws[i] for i in at], [self.weights[i] for i in at]


def across(
    task: Task,
    scores: pd.DataFrame,
    places: dict[str, pd.DataFrame],
    pairs: dict[str, pd.DataFrame],
    drawn: dict[str, Drawn],
) -> tuple[pd.DataFrame, pd.DataFrame, RankTest]:
    """Return the networks, their pairs, and the test over the datasets.

    Networks with a score on every dataset are ranked, and the others only listed.

    Args:
        task: the task.
        scores: datasets x networks; NaN where a network has no score.
        places, pairs, drawn: by dataset, of the contests with a test.

    Returns:
        Networks by mean rank, with the columns `NETWORKS`; `first` is the share of draws of images and seeds
        in which the network has the lowest mean rank over these datasets. Pairs with the columns `MATRIX`:
        datasets on which a is significantly better, not told apart, or worse; `improvement`, the probability
        that a training of `a` scores higher than one of `b` on one of the datasets, with its 95 % interval
        over seeds, images and datasets; p of the test of each pair.
    """
    whole = scores.dropna(axis="columns")
    tested = pd.DataFrame({d: p.set_index("model")["rank"] for d, p in places.items()}).T
    frame = orders(whole, tested)
    test = rank_test(whole)
    frame["first"] = np.nan
    models = list(frame["mean_rank"].sort_values(kind="stable").index)
    common = [d for d in scores.index if d in drawn and set(models) <= set(drawn[d].models)]
    if common == list(scores.index) and models:
        at = [[drawn[d].models.index(m) for m in models] for d in common]
        ranks = [stability.ranks(drawn[d].means[rows]) for d, rows in zip(common, at)]
        frame.loc[models, "first"] = stability.share_of_first(np.mean(ranks, 0))
    frame["ranked"] = True
    frame = frame.reindex([*models, *(m for m in scores if m not in whole)])
    frame["ranked"] = frame["ranked"].fillna(False).astype(bool)
    frame["datasets"] = scores.notna().sum()
    frame = frame.rename_axis("model").reset_index().assign(task=task)
    return frame[NETWORKS], _matrix(task, models, common, pairs, drawn, test), test


def _matrix(
    task: Task,
    models: list[str],
    datasets: list[str],
    pairs: dict[str, pd.DataFrame],
    drawn: dict[str, Drawn],
    test: RankTest,
) -> pd.DataFrame:
    if not datasets or len(models) < 2:
        return pd.DataFrame(columns=MATRIX)
    by_dataset = [stability.improvement(*drawn[d].of(models)) for d in datasets]
    point, low, high = _over_datasets(np.array(by_dataset))
    wins = {(a, b): 0 for a in models for b in models}
    for frame in (pairs[d] for d in datasets):
        for better, worse in frame.loc[frame["parted"], ["better", "worse"]].itertuples(index=False):
            if (better, worse) in wins:
                wins[better, worse] += 1
    rows = []
    for n, (a, b) in enumerate(combinations(models, 2)):
        for x, y, shares in ((a, b, (point, low, high)), (b, a, (1 - point, 1 - high, 1 - low))):
            won, lost = wins[x, y], wins[y, x]
            p = test.pairs.loc[x, y]
            rows.append([task, x, y, won, len(datasets) - won - lost, lost, *(s[n] for s in shares), p])
    return pd.DataFrame(rows, columns=MATRIX)


def _over_datasets(shares: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return mean and 95 % interval of D x P x B shares, the datasets drawn with replacement, too."""
    datasets, _, draws = shares.shape
    weights = np.random.default_rng(0).multinomial(datasets, np.full(datasets, 1 / datasets), draws)
    means = np.einsum("dpb,bd->pb", shares, weights / datasets)
    low, high = np.percentile(means, stability.PERCENTILES, axis=1)
    return shares.mean((0, 2)), low, high
