"""Tests of networks over several datasets, on ranks (Demsar, JMLR 7, 2006).

Three networks or more: Friedman's test, and if it finds a difference, Nemenyi's for each pair. Two networks:
Wilcoxon's signed-rank test. Against a baseline: Wilcoxon's test for each network, corrected by Holm.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cache

import numpy as np
import pandas as pd

from segbench.comparison.holm import holm
from segbench.comparison.pairs import ALPHA

ENOUGH_DATASETS = 6
"""Smallest number of datasets that is tested: with five, Wilcoxon's p cannot be below 0.0625."""
_MAGNITUDES = ((0.1, "negligible"), (0.3, "small"), (0.5, "medium"))
"""Upper ends of Cohen's words for a correlation, which Kendall's W and the rank-biserial one are read as."""


@dataclass(frozen=True)
class RankTest:
    """The test of a table of datasets x networks."""

    name: str
    """Friedman or Wilcoxon; "" if there are too few datasets or networks."""
    p: float
    effect: float
    """Kendall's W (Friedman), or the matched-pairs rank-biserial correlation (Wilcoxon)."""
    missing: int
    """How many datasets are missing for a test."""
    critical: float
    """Nemenyi's critical difference of mean ranks at 0.05; NaN for two networks."""
    pairs: pd.DataFrame
    """networks x networks: p of each pair, 1 if the first test found no difference; NaN without a test."""

    @property
    def magnitude(self) -> str:
        """Cohen's word for the effect; "" without a test."""
        if math.isnan(self.effect):
            return ""
        return next((word for end, word in _MAGNITUDES if abs(self.effect) < end), "large")


def rank_test(scores: pd.DataFrame) -> RankTest:
    """Test the scores of networks on several datasets.

    Args:
        scores: datasets x networks, complete; higher is better.
    """
    datasets, networks = scores.shape
    pairs = pd.DataFrame(np.nan, scores.columns, scores.columns)
    missing = max(0, ENOUGH_DATASETS - datasets)
    if missing or networks < 2:
        return RankTest("", math.nan, math.nan, missing, math.nan, pairs)
    if networks == 2:
        first, second = scores.columns
        p, effect = wilcoxon(scores[first] - scores[second])
        pairs[:] = [[1, p], [p, 1]]
        return RankTest("Wilcoxon", p, effect, 0, math.nan, pairs)
    from scipy.stats import friedmanchisquare

    pairs[:] = 1.0
    statistic, p = friedmanchisquare(*scores.to_numpy().T)
    if math.isnan(p):  # all scores of each dataset are equal
        statistic, p = 0.0, 1.0
    if p < ALPHA:
        import scikit_posthocs  # the import takes seconds, and few runs need it

        pairs = scikit_posthocs.posthoc_nemenyi_friedman(scores)
    critical = _quantile(networks) * math.sqrt(networks * (networks + 1) / (6 * datasets))
    agreement = statistic / (datasets * (networks - 1))
    return RankTest("Friedman", float(p), float(agreement), 0, float(critical), pairs)


@cache
def _quantile(networks: int) -> float:
    from scipy.stats import studentized_range

    return float(studentized_range.ppf(1 - ALPHA, networks, np.inf)) / math.sqrt(2)


def wilcoxon(differences: pd.Series) -> tuple[float, float]:
    """Return the two-sided p of Wilcoxon's signed-rank test, and the rank-biserial correlation in -1..1."""
    from scipy.stats import rankdata
    from scipy.stats import wilcoxon as test

    changed = differences[differences != 0]
    if changed.empty:
        return 1.0, 0.0
    ranks = rankdata(changed.abs())
    effect = float((ranks * np.sign(changed)).sum() / ranks.sum())
    return float(test(differences.to_numpy()).pvalue), effect


def against(scores: pd.DataFrame, baseline: str) -> pd.DataFrame:
    """Compare every network with a baseline over the datasets.

    Returns:
        A row for each other network: model, difference (mean over the datasets), p (Wilcoxon, corrected by
        Holm; NaN with too few datasets), effect. `missing` is the number of datasets that are missing so that
        the corrected p could be below 0.05.
    """
    others = [model for model in scores if model != baseline]
    rows = []
    for model in others:
        differences = scores[model] - scores[baseline]
        p, effect = wilcoxon(differences)
        rows.append({"model": model, "difference": differences.mean(), "p": p, "effect": effect})
    frame = pd.DataFrame(rows, columns=["model", "difference", "p", "effect"])
    needed = math.floor(math.log2(2 * max(1, len(others)) / ALPHA)) + 1  # 2 ** (1 - n) x tests < 0.05
    frame["missing"] = max(0, needed - len(scores))
    frame["p"] = holm(frame["p"].to_numpy(float))
    if len(scores) < needed:
        frame["p"] = math.nan
    return frame
