"""Holm's correction for many comparisons (Scandinavian Journal of Statistics 6, 1979)."""

from __future__ import annotations

import numpy as np


def holm(p: np.ndarray) -> np.ndarray:
    """Return the corrected p of N tests. Those that are NaN were not made, and stay NaN."""
    result = np.full(len(p), np.nan)
    made = np.flatnonzero(~np.isnan(p))
    order = made[np.argsort(p[made])]
    factors = np.arange(len(order), 0, -1)
    result[order] = np.minimum(np.maximum.accumulate(p[order] * factors), 1)
    return result
