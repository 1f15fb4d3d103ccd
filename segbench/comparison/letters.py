"""Groups of networks that a test cannot part, as letters: who shares one is not told apart.

Insert and absorb (Piepho, Journal of Computational and Graphical Statistics 13, 2004).
"""

from __future__ import annotations

import numpy as np


def letters(parted: np.ndarray) -> list[str]:
    """Return the letters of each network, such as `a`, `ab`, `b`.

    Args:
        parted: k x k, symmetric: whether two networks differ. The networks are in the order of their scores,
            and the first has an `a`.
    """
    groups = [frozenset(range(len(parted)))]
    for i, j in np.argwhere(np.triu(parted, 1)).tolist():
        divided = []
        for group in groups:
            divided += [group - {i}, group - {j}] if {i, j} <= group else [group]
        unique = set(divided)
        groups = [group for group in unique if not any(group < other for other in unique)]
    groups.sort(key=sorted)
    return ["".join(_letter(n) for n, group in enumerate(groups) if i in group) for i in range(len(parted))]


def _letter(number: int) -> str:
    """Return a, b … z, then (27), (28) …"""
    return chr(ord("a") + number) if number < 26 else f"({number + 1})"
