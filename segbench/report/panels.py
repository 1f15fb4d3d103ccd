"""Small panels that share one axes. Twenty axes with ticks and a layout of their own take seconds to draw."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from numpy.typing import ArrayLike

INK, FAINT, RULE = "#22252b", "#6b7280", "#d5d9e0"


def canvas(width: float, height: float) -> tuple[Figure, Axes]:
    """Return a figure of this size in points, and axes without frame whose units are points."""
    figure = plt.figure(figsize=(width / 72, height / 72), layout="none")
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set(xlim=(0, width), ylim=(0, height))
    axes.axis("off")
    return figure, axes


@dataclass(frozen=True)
class Panel:
    """A rectangle of a canvas with scales of its own. All places are in points."""

    axes: Axes
    left: float
    bottom: float
    width: float
    height: float
    xlim: tuple[float, float]
    ylim: tuple[float, float]
    log: bool = False
    """Whether x is logarithmic."""

    def x(self, values: ArrayLike) -> np.ndarray:
        """Return the places of values of x."""
        low, high = self.xlim
        given = np.asarray(values, float)
        if self.log:
            low, high, given = np.log(low), np.log(high), np.log(given)
        return self.left + self.width * (given - low) / ((high - low) or 1)

    def y(self, values: ArrayLike) -> np.ndarray:
        """Return the places of values of y."""
        low, high = self.ylim
        return self.bottom + self.height * (np.asarray(values, float) - low) / ((high - low) or 1)

    def frame(self, x: Mapping[float, str], y: Mapping[float, str], size: float = 8.5) -> None:
        """Draw lines at values of x and y, with their labels below and to the left."""
        right, top = self.left + self.width, self.bottom + self.height
        ticks = self.x([*x]), self.y([*y])
        self.axes.vlines(ticks[0], self.bottom, top, color=RULE, lw=0.6, zorder=0)
        self.axes.hlines(ticks[1], self.left, right, color=RULE, lw=0.6, zorder=0)
        for place, label in zip(ticks[0], x.values()):
            self.axes.text(place, self.bottom - 4, label, ha="center", va="top", size=size)
        for place, label in zip(ticks[1], y.values()):
            self.axes.text(self.left - 4, place, label, ha="right", va="center", size=size)


def round_ticks(low: float, high: float, count: int) -> dict[float, str]:
    """Return at most `count` + 1 round values from low to high, with their labels."""
    values = [v for v in MaxNLocator(count).tick_values(low, high) if low - 1e-9 <= v <= high + 1e-9]
    return {float(v): f"{round(float(v), 6):,g}" for v in values}
