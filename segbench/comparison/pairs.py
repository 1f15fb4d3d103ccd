"""Compare each pair of networks of a contest by a paired test.

The test is Student's t on the difference of the scores, with the standard error of `Estimates`. On N images
no p is below 2 ** (1 - N), the least that a sign test could give: a few images never prove much. Holm's
correction is over all pairs of the contest.
"""

from __future__ import annotations

import math
from itertools import combinations

import numpy as np
import pandas as pd
from scipy.special import stdtr

from segbench.comparison.estimates import estimates
from segbench.comparison.holm import holm
from segbench.comparison.resamples import Resamples
from segbench.evaluation.intervals import of_difference

ALPHA = 0.05
MAGNITUDES = ((0.2, "negligible"), (0.5, "small"), (0.8, "medium"))
"""Upper ends of Cohen's words for a standardised difference (Statistical Power Analysis, 1988)."""
COLUMNS = [
    "better", "worse", "difference", "low", "high", "error", "freedom", "p", "p_holm", "parted", "equivalent",
    "effect", "magnitude", "images_sd", "seeds_sd", "units", "seeds",
]  # fmt: skip


def magnitude(effect: float) -> str:
    """Return Cohen's word for the size of a standardised difference."""
    return next((word for end, word in MAGNITUDES if abs(effect) < end), "large")


def pairs(resamples: Resamples, models: list[str], metric: str, equivalent: float) -> pd.DataFrame:
    """Return a row for each pair of `models`.

    Args:
        resamples: their scores.
        models: networks in the order of their scores, the best first.
        metric: the metric that ranks them.
        equivalent: a difference up to this does not matter in practice.

    Returns:
        Columns: better, worse: the networks. difference, low, high: of the scores, with the 95 % interval.
        error, freedom: its standard error, and the degrees of freedom. p, p_holm: two-sided, and corrected.
        parted: whether p_holm is below 0.05. equivalent: whether the interval is within ± `equivalent`.
        effect: difference / standard deviation over the images, in the word `magnitude`. images_sd, seeds_sd:
        standard deviations of the difference from image to image, and of a score from seed to seed (NaN with
        one seed). units, seeds: numbers of images or groups, and of seeds (the smaller one).
    """
    if len(models) < 2:
        return pd.DataFrame(columns=COLUMNS)
    found = estimates([resamples.scores[metric][model] for model in models])
    errors, freedoms = found.of_differences()
    images = np.sqrt(found.images_of_differences() * resamples.units)
    rows = []
    for i, j in combinations(range(len(models)), 2):
        difference, error, freedom = found.values[i] - found.values[j], errors[i, j], freedoms[i, j]
        low, high = of_difference(difference, error, freedom) or (np.nan, np.nan)
        spread = images[i, j]
        effect = difference / spread if spread > 0 else np.nan
        variance = (found.seeds[[i, j]] * found.repetitions[[i, j]]).mean()
        several = found.repetitions[[i, j]].min() > 1
        rows.append(
            {
                "better": models[i],
                "worse": models[j],
                "difference": difference,
                "low": low,
                "high": high,
                "error": error,
                "freedom": freedom,
                "p": p_value(difference, error, freedom, resamples.units),
                "equivalent": bool(-equivalent <= low and high <= equivalent),
                "effect": effect,
                "magnitude": "" if np.isnan(effect) else magnitude(effect),
                "images_sd": spread,
                "seeds_sd": np.sqrt(variance) if several else np.nan,
                "units": resamples.units,
                "seeds": int(found.repetitions[[i, j]].min()),
            }
        )
    frame = pd.DataFrame(rows)
    frame["p_holm"] = holm(frame["p"].to_numpy())
    frame["parted"] = frame["p_holm"] < ALPHA
    return frame[COLUMNS]


def p_value(difference: float, error: float, freedom: float, units: int) -> float:
    """Return the two-sided p of a difference; NaN if it cannot be tested."""
    if np.isnan(difference) or np.isnan(error) or units < 2:
        return float("nan")
    if difference == 0:
        return 1.0
    p = 2 * float(stdtr(freedom, -abs(difference) / error)) if error > 0 else 0.0
    return max(p, 2.0 ** (1 - units))


def least_units(pairs: int) -> int:
    """Return the smallest number of images on which one of so many pairs can be told apart."""
    return math.floor(1 + math.log2(pairs / ALPHA)) + 1


def parted_matrix(frame: pd.DataFrame, models: list[str]) -> np.ndarray:
    """Return whether each two networks differ, k x k, symmetric, from the rows of `pairs`."""
    place = {model: n for n, model in enumerate(models)}
    result = np.zeros((len(models), len(models)), bool)
    for better, worse, parted in zip(frame["better"], frame["worse"], frame["parted"]):
        result[place[better], place[worse]] = result[place[worse], place[better]] = parted
    return result
