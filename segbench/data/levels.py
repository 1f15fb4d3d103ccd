"""Images of more than 8 bit: which values are black and white.

Cameras of 10 to 14 bit store 16, and float images have any range, so the type says nothing. The range is that
of a set's training images: every image of the set, and every later one, maps alike, and no level is lost.
"""

from __future__ import annotations

import numpy as np

Levels = tuple[float, float]
"""The values that become 0 and 1."""


def reach(values: np.ndarray) -> Levels:
    """Range of the finite values of an H x W image.

    A single pixel that lies further outside of the others' range than that range is wide is a fault of the
    sensor (a hot or dead pixel) and does not count. One with a neighbour like it does.
    """
    finite = values[np.isfinite(values)]
    low, high = float(finite.min()), float(finite.max())
    pairs = [
        (values[:, :-1], values[:, 1:]),
        (values[:-1], values[1:]),
        (values[:-1, :-1], values[1:, 1:]),
        (values[:-1, 1:], values[1:, :-1]),
    ]
    tops = [(np.minimum(a, b), np.maximum(a, b)) for a, b in pairs if a.size]
    lower = [part[np.isfinite(part)] for part, _ in tops]
    upper = [part[np.isfinite(part)] for _, part in tops]
    inner_high = max((float(p.max()) for p in lower if p.size), default=high)
    inner_low = min((float(p.min()) for p in upper if p.size), default=low)
    width = max(inner_high - inner_low, 0.0)
    return (
        low if low >= inner_low - width else inner_low,
        high if high <= inner_high + width else inner_high,
    )


def stretch(values: np.ndarray, levels: Levels) -> np.ndarray:
    """float32 in 0..1; what is outside of the range takes its ends, and what is no number the lower one."""
    low, high = levels
    span = (high - low) or 1.0
    scaled = (np.nan_to_num(values, nan=low, posinf=high, neginf=low).clip(low, high) - low) / span
    return scaled.astype(np.float32)
