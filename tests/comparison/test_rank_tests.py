from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest
import scikit_posthocs
from scipy import stats

from segbench.comparison.orders import agreement, orders
from segbench.comparison.rank_tests import ENOUGH_DATASETS, against, rank_test


def table(means: list[float], datasets: int, spread: float = 0.03, seed: int = 0) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    values = rng.normal(0, 0.2, (datasets, 1)) + rng.normal(means, spread, (datasets, len(means)))
    return pd.DataFrame(values, [f"d{i}" for i in range(datasets)], [f"n{i}" for i in range(len(means))])


def test_three_networks_friedman_and_nemenyi() -> None:
    scores = table([0.9, 0.6, 0.3], 10)
    found = rank_test(scores)
    assert found.name == "Friedman" and found.magnitude == "large"
    assert found.p == pytest.approx(stats.friedmanchisquare(*scores.to_numpy().T).pvalue)
    assert found.pairs.equals(scikit_posthocs.posthoc_nemenyi_friedman(scores))
    # Demsar's table of q: 2.343 for three networks
    assert found.critical == pytest.approx(2.343 * math.sqrt(3 * 4 / 60), abs=1e-3)


def test_no_post_hoc_test_without_a_difference() -> None:
    same = rank_test(pd.DataFrame(0.5, range(8), list("abc")))
    assert same.p == 1 and (same.pairs == 1).all(axis=None) and same.effect == 0


def test_two_networks_wilcoxon() -> None:
    scores = table([0.9, 0.6], 8)
    found = rank_test(scores)
    assert found.name == "Wilcoxon" and found.effect == 1 and found.p == pytest.approx(2 / 2**8)


@pytest.mark.parametrize("datasets", [2, ENOUGH_DATASETS - 1])
def test_too_few_datasets_say_how_many_are_missing(datasets: int) -> None:
    found = rank_test(table([0.9, 0.6, 0.3], datasets))
    assert found.name == "" and math.isnan(found.p) and found.missing == ENOUGH_DATASETS - datasets


def test_against_a_baseline() -> None:
    found = against(table([0.9, 0.6, 0.3], 8), "n1").set_index("model")
    assert (found["p"] < 0.05).all() and found.loc["n0", "difference"] > 0 > found.loc["n2", "difference"]
    few = against(table([0.5] * 5, 6), "n0")
    assert few["p"].isna().all() and (few["missing"] == 2).all(), "2 ** (1 - 8) x 4 is below .05"


def test_three_orders() -> None:
    scores = pd.DataFrame({"a": [0.9, 0.9, 0.1], "b": [0.8, 0.8, 0.8]}, list("xyz"))
    tested = pd.DataFrame({"a": [1, 1, 2], "b": [1, 1, 1]}, list("xyz"))
    frame = orders(scores, tested)
    assert frame["mean_score_order"].to_dict() == {"a": 2, "b": 1}
    assert frame["mean_rank_order"].to_dict() == {"a": 1, "b": 2}
    assert frame["tested_rank_order"].to_dict() == {"a": 2, "b": 1}
    assert agreement(frame)["mean, then rank / rank, then mean"] == -1
    untested = orders(scores, pd.DataFrame())
    assert untested["tested_rank"].isna().all() and len(agreement(untested)) == 1
