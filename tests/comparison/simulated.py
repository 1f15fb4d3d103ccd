"""Scores of networks whose true scores are known."""

from __future__ import annotations

import numpy as np
import pandas as pd

from segbench.comparison.resamples import Resamples

IMAGE_SD, OWN_SD = 0.15, 0.05
"""How much scores differ from image to image: alike for all networks, and for each network by itself."""


def simulated_contest(
    rng: np.random.Generator, means: np.ndarray, images: int, seeds: int = 1, seed_sd: float = 0.0
) -> Resamples:
    """Return the scores of networks with these true scores, whose metric is a mean over the images."""
    weights = np.concatenate([np.ones((1, images)), 1 - np.eye(images)])
    hard = rng.normal(0, IMAGE_SD, images)
    scores = {}
    for n, mean in enumerate(means):
        own = rng.normal(mean, seed_sd, (seeds, 1)) + rng.normal(0, OWN_SD, images)
        own = own + rng.normal(0, OWN_SD / 3, (seeds, images)) if seeds > 1 else own
        scores[f"n{n}"] = (own + hard) @ weights.T / weights.sum(1)
    return Resamples(list(scores), {"miou": scores}, {}, units=images)


def simulated_table(
    rng: np.random.Generator, means: np.ndarray, datasets: int, own_sd: float = 0.03
) -> pd.DataFrame:
    """Return scores, datasets x networks, that differ by dataset and, for each network, by chance."""
    values = rng.normal(0.6, 0.15, (datasets, 1)) + means + rng.normal(0, own_sd, (datasets, len(means)))
    return pd.DataFrame(values, columns=[f"n{n}" for n in range(len(means))])
