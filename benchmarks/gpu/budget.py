"""How the time of a run is divided among its parts."""

from __future__ import annotations

from collections.abc import Sequence

SHORTEST = 30.0
"""Seconds that an item gets at least, once it has begun."""


def share(left: float, weights: Sequence[float]) -> float:
    """Return the seconds of the next part. What it does not use, the others get.

    Args:
        left: seconds left.
        weights: of this part and of all after it.
    """
    return max(0.0, left) * weights[0] / sum(weights)
