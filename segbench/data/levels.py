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
    pairs = [
        (values[:, :-1], values[:, 1:]),
        (values[:-1], values[1:]),
        (values[:-1, :-1], values[1:, 1:]),
        (values[:-1, 1:], values[1:, :-1]),
    ]
    both = [np.stack(pair)[:, np.isfinite(pair[0]) & np.isfinite(pair[1])] for pair in pairs]
    both = [pair for pair in both if pair.size]
    if both:
        high = max(pair.min(axis=0).max() for pair in both)
        low = min(pair.max(axis=0).min() for pair in both)
        width = max(high - low, 0)
        finite = finite[(finite >= low - width) & (finite <= high + width)]
    return float(finite.min()), float(finite.max())


def stretch(values: np.ndarray, levels: Levels) -> np.ndarray:
    """float32 in 0..1; what is outside of the range takes its ends, and what is no number the lower one."""
    low, high = levels
    span = (high - low) or 1.0
    scaled = (np.nan_to_num(values, nan=low, posinf=high, neginf=low).clip(low, high) - low) / span
    return scaled.astype(np.float32)
