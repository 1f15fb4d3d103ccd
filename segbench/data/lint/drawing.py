"""Drawings of the lint step: class frequencies and object sizes by split, and near-duplicates."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from PIL import Image

from segbench.data.dataset import Dataset
from segbench.data.images import open_raster
from segbench.data.levels import scaled
from segbench.data.lint.summary import STEPS, SplitSummary
from segbench.data.painting import shown
from segbench.errors import SegbenchError
from segbench.files import atomic_path

CLASSES = 40
"""Largest number of classes that are drawn: the most frequent ones."""
PAIRS = 16
"""Largest number of pairs that are drawn: the most alike ones."""
TILE = 3
"""Side of an image of a pair, in inches."""


def draw_summary(splits: Mapping[str, SplitSummary], path: Path) -> None:
    """Draw class frequencies and object sizes by split as a PNG file."""
    rows = [
        {"split": split, "class": name, "share": 100 * one.pixels}
        for split, summary in splits.items()
        for name, one in summary.classes.items()
    ]
    table = pd.DataFrame(rows, columns=["split", "class", "share"])
    order = table.groupby("class", sort=False)["share"].max().sort_values(ascending=False, kind="stable")
    shown = order.index[:CLASSES]
    sized = {split: summary.sizes for split, summary in splits.items() if summary.sizes}
    height = max(3.2, 1.2 + 0.11 * len(shown) * len(splits) + 0.1 * len(shown))
    with sns.axes_style("whitegrid"), plt.rc_context({"text.parse_math": False}):
        figure, axes = plt.subplots(
            1, 2 if sized else 1, figsize=(12 if sized else 7, height), squeeze=False, layout="constrained"
        )
        colors = dict(zip(splits, sns.color_palette("colorblind")))
        ax = axes[0, 0]
        sns.barplot(table, y="class", x="share", hue="split", order=list(shown), palette=colors, ax=ax)
        more = f" (of {len(order)})" if len(order) > len(shown) else ""
        ax.set(xlabel="Share of the labelled pixels in %", ylabel="", title=f"Classes{more}")
        if sized:
            _draw_sizes(axes[0, 1], sized, colors)
        with atomic_path(path) as partial:
            figure.savefig(partial, dpi=110)
        plt.close(figure)


def _draw_sizes(ax: Axes, sized: Mapping[str, Mapping[int, int]], colors: Mapping[str, object]) -> None:
    bins = sorted({k for sizes in sized.values() for k in sizes})
    edges = 2.0 ** (np.arange(bins[0], bins[-1] + 2) / STEPS)
    for split, sizes in sized.items():
        counts = np.array([sizes.get(k, 0) for k in range(bins[0], bins[-1] + 1)])
        label = f"{split} ({counts.sum()} objects)"
        ax.stairs(100 * counts / counts.sum(), edges, label=label, color=colors[split], lw=1.8)
    ax.set_xscale("log", base=2)
    ax.xaxis.set_major_formatter("{x:g}")
    ax.set(xlabel="Side of a square of the same area, in pixels", ylabel="Objects in %", title="Object sizes")
    ax.legend()


def draw_pairs(root: Path, pairs: Sequence[tuple[str, str, int]], path: Path) -> None:
    """Draw pairs of images side by side as a PNG file.

    Args:
        root: folder of the dataset.
        pairs: the two files, relative to `root`, and the number of bits in which their hashes differ.
        path: file to write.
    """
    channels = Dataset(root).info.channels
    drawn = pairs[:PAIRS]
    columns = min(2, len(drawn))
    rows = -(-len(drawn) // columns)
    figure, axes = plt.subplots(
        rows, 2 * columns, figsize=(2 * TILE * columns, TILE * rows), squeeze=False, layout="constrained"
    )
    for ax in axes.flat:
        ax.set_axis_off()
    with plt.rc_context({"text.parse_math": False}):
        for number, (one, other, distance) in enumerate(drawn):
            row, column = number // columns, 2 * (number % columns)
            for ax, name, end in (
                (axes[row, column], one, ""),
                (axes[row, column + 1], other, f" ({distance})"),
            ):
                ax.set_title(_short(name) + end, size=7)
                if (image := _thumbnail(root / name, channels)) is not None:
                    ax.imshow(image, cmap="gray", vmin=0, vmax=255)
        with atomic_path(path) as partial:
            figure.savefig(partial, dpi=80)
    plt.close(figure)


def _thumbnail(path: Path, channels: int) -> np.ndarray | None:
    """Read an image at the size of a tile; None if it is damaged."""
    try:
        image = Image.fromarray(shown(scaled(open_raster(path, channels).array, None)))
    except SegbenchError:
        return None
    image.thumbnail((80 * TILE, 80 * TILE))
    return np.asarray(image)


def _short(name: str, limit: int = 38) -> str:
    return name if len(name) <= limit else f"…{name[1 - limit :]}"
