from __future__ import annotations

import numpy as np
import pytest
from scipy import stats
from statsmodels.stats.multitest import multipletests

from segbench.comparison.baseline import over_baseline
from segbench.comparison.estimates import estimates
from segbench.comparison.holm import holm
from segbench.comparison.pairs import least_units, p_value, pairs
from segbench.comparison.resamples import Resamples


def of_means(*images: np.ndarray) -> Resamples:
    """Models named a, b … whose score is the mean over images, S x N values each."""
    count = images[0].shape[1]
    weights = np.concatenate([np.ones((1, count)), 1 - np.eye(count)])
    scores = {chr(97 + n): own @ weights.T / weights.sum(1) for n, own in enumerate(images)}
    return Resamples(list(scores), {"miou": scores}, {}, units=count)


def values(seed: int, seeds: int, images: int, shift: float = 0.0) -> np.ndarray:
    return np.random.default_rng(seed).uniform(0.4 + shift, 0.6 + shift, (seeds, images))


def test_holm_is_statsmodels() -> None:
    p = np.random.default_rng(0).uniform(0, 0.1, 20)
    assert holm(p) == pytest.approx(multipletests(p, method="holm")[1])
    found = holm(np.array([0.01, np.nan, 0.02]))
    assert found[[0, 2]] == pytest.approx([0.02, 0.02]) and np.isnan(found[1])


def test_with_one_seed_it_is_the_paired_t_test() -> None:
    a, b = values(0, 1, 15, 0.05), values(1, 1, 15)
    row = pairs(of_means(a, b), ["a", "b"], "miou", 0.005).iloc[0]
    expected = stats.ttest_rel(a[0], b[0])
    assert row["p"] == pytest.approx(expected.pvalue) and row["freedom"] == 14
    assert (row["low"], row["high"]) == pytest.approx(tuple(expected.confidence_interval()))
    assert row["effect"] == pytest.approx((a - b).mean() / (a - b).std(ddof=1))
    assert np.isnan(row["seeds_sd"])


def test_with_images_that_agree_it_is_welchs_t_test_of_the_seeds() -> None:
    seeds = [np.array([[0.6], [0.63], [0.61]]), np.array([[0.5], [0.58]])]
    images = [np.repeat(own, 30, 1) for own in seeds]
    row = pairs(of_means(*images), ["a", "b"], "miou", 0.005).iloc[0]
    expected = stats.ttest_ind(*(own[:, 0] for own in seeds), equal_var=False)
    assert row["p"] == pytest.approx(expected.pvalue)
    assert row["freedom"] == pytest.approx(expected.df) and row["seeds"] == 2


def test_images_and_seeds_add_up() -> None:
    found = estimates([values(n, 3, 10) for n in range(2)])
    assert found.of_scores()[0] ** 2 == pytest.approx(np.diag(found.images) + found.seeds)
    variance = found.images_of_differences()[0, 1] + found.seeds.sum()
    assert found.of_differences()[0][0, 1] ** 2 == pytest.approx(variance)


def test_few_images_never_prove_much() -> None:
    assert p_value(0.3, 1e-6, 2, 3) == 0.25
    assert p_value(0.3, 0, 9, 10) == 2**-9
    assert p_value(0.0, 0.0, 9, 10) == 1
    assert np.isnan(p_value(0.3, 0.1, 0, 1))


def test_the_images_that_are_needed_for_any_difference() -> None:
    for pairs_made in (1, 6, 190):
        needed = least_units(pairs_made)
        assert (
            pairs_made * p_value(0.3, 1e-9, 5, needed)
            < 0.05
            <= pairs_made * p_value(0.3, 1e-9, 5, needed - 1)
        )


def test_equal_networks_are_equivalent_and_not_parted() -> None:
    a = values(0, 1, 50)
    row = pairs(of_means(a, a), ["a", "b"], "miou", 0.005).iloc[0]
    assert row["p_holm"] == 1 and row["equivalent"] and not row["parted"]


def test_the_margin_decides_what_is_equivalent() -> None:
    a = values(0, 1, 50)
    b = a + np.random.default_rng(1).normal(-0.003, 0.002, a.shape)
    near, far = (pairs(of_means(a, b), ["a", "b"], "miou", margin).iloc[0] for margin in (0.005, 0.001))
    assert near["equivalent"] and near["parted"] and not far["equivalent"]


def test_the_baseline_view_turns_signs_and_corrects_its_own_comparisons() -> None:
    resamples = of_means(values(0, 1, 30, 0.1), values(1, 1, 30, 0.05), values(2, 1, 30))
    frame = pairs(resamples, ["a", "b", "c"], "miou", 0.005)
    view = over_baseline(frame, "b").set_index("model")
    assert list(view.index) == ["a", "c"] and view.loc["a", "difference"] > 0 > view.loc["c", "difference"]
    assert view.loc["c", "low"] < view.loc["c", "difference"] < view.loc["c", "high"] < 0
    own = frame[(frame["better"] == "b") | (frame["worse"] == "b")]
    assert sorted(view["p_holm"]) == pytest.approx(sorted(holm(own["p"].to_numpy())))
    assert over_baseline(frame, None).empty and over_baseline(frame, "x").empty
