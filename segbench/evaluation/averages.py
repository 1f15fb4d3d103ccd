"""Quotients and means of scores that may be undefined."""

from __future__ import annotations

from typing import Any

import numpy as np


def ratio(part: Any, whole: Any) -> np.ndarray:
    """Return part / whole as float, with broadcasting; NaN where whole is 0."""
    part, whole = np.asarray(part, float), np.asarray(whole, float)
    shape = np.broadcast_shapes(part.shape, whole.shape)
    return np.divide(part, whole, out=np.full(shape, np.nan), where=whole != 0)


def harmonic(hits: Any, whole: Any, other_hits: Any, other_whole: Any) -> np.ndarray:
    """Return the harmonic mean of the two shares of hits; 0 if one of them is 0 or undefined."""
    one, other = ratio(hits, whole), ratio(other_hits, other_whole)
    return np.nan_to_num(ratio(2 * one * other, one + other))


def mean(values: np.ndarray, axis: int = -1) -> np.ndarray:
    """Return the mean over `axis` of the values that are not NaN; NaN where all of them are."""
    defined = ~np.isnan(values)
    return ratio(np.where(defined, values, 0).sum(axis), defined.sum(axis))
