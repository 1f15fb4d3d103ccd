"""How many seeds or test images are needed to part two networks, from the variances of a finished run.

The variance of a difference of two mean scores is taken as V_image / N + 2 V_seed / S, for N images (or
groups) and S seeds. A two-sided test at 0.05 finds a difference D with the wanted power if
D >= (t_0.975 + t_power) x standard error, with Satterthwaite's degrees of freedom.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
from scipy.special import stdtrit

from segbench.comparison.compare import read_comparison
from segbench.comparison.pairs import ALPHA
from segbench.contract.run import RunDescription
from segbench.errors import SegbenchError
from segbench.units import NOTHING

MOST = 1_000_000
"""Larger numbers are not searched."""


def power(run: Path, difference: float, wanted: float) -> pd.DataFrame:
    """Return what is needed to part two networks of a run that differ by `difference`.

    Args:
        run: folder of a run with a summary.
        difference: difference of the primary scores.
        wanted: probability to find it, such as 0.8.

    Returns:
        A row for each dataset and task, of its median pair of networks. images, seeds: numbers of the run.
        image_sd, seed_sd: standard deviations of the difference from image to image, and of a score from seed
        to seed (NaN with one seed). detectable: the smallest difference that the run finds with this power.
        images_needed (at the same seeds), seeds_needed (at the same images): NaN if no number is enough, or
        with one seed, seeds_needed is unknown.
    """
    folder = run / "summary" / "comparison"
    description = RunDescription.read(run / "run.json")
    frame = read_comparison(folder).pairs
    rows = []
    for (dataset, task), own in frame.groupby(["dataset", "task"], sort=False):
        images, seeds = int(own["units"].iloc[0]), int(own["seeds"].median())
        image_sd, seed_sd = own["images_sd"].median(), own["seeds_sd"].median()
        known_seed = 0.0 if math.isnan(seed_sd) else seed_sd
        row = {
            "dataset": description.dataset_title(str(dataset)),
            "task": task,
            "images": images,
            "seeds": seeds,
            "image_sd": image_sd,
            "seed_sd": seed_sd,
            "detectable": detectable(image_sd, known_seed, images, seeds, wanted),
        }

        def enough(images: int, seeds: int, sds: tuple[float, float] = (image_sd, known_seed)) -> bool:
            return detectable(*sds, images, seeds, wanted) <= difference

        row["images_needed"] = _least(partial(enough, seeds=seeds))
        known = not math.isnan(seed_sd)
        row["seeds_needed"] = _least(partial(enough, images)) if known else math.nan
        rows.append(row)
    if not rows:
        raise SegbenchError(
            "no two networks were compared",
            where=folder,
            remedy="finish the cells of two networks, with evaluation.bootstrap_samples above 0",
        )
    return pd.DataFrame(rows)


def detectable(image_sd: float, seed_sd: float, images: int, seeds: int, wanted: float) -> float:
    """Return the smallest difference that the test finds with the power `wanted`; infinite for one image.

    Args:
        image_sd: standard deviation of the difference from image to image.
        seed_sd: standard deviation of a score from seed to seed; 0 if it is not known.
        images, seeds: their numbers N and S.
        wanted: probability to find the difference.
    """
    if images < 2 or (seed_sd > 0 and seeds < 2):
        return math.inf
    parts = [(image_sd**2 / images, images - 1)] + 2 * [(seed_sd**2 / seeds, max(1, seeds - 1))]
    variance = sum(part for part, _ in parts)
    spread = sum(part**2 / freedom for part, freedom in parts)
    freedom = variance**2 / spread if spread > 0 else math.inf
    quantiles = stdtrit(min(freedom, 1e9), np.array([1 - ALPHA / 2, wanted])).sum()
    return float(quantiles * math.sqrt(variance))


def _least(enough: Callable[[int], bool]) -> float:
    """Return the smallest number from 2 on that is enough; NaN if `MOST` is not."""
    high = 2
    while not enough(high):
        high *= 2
        if high > MOST:
            return math.nan
    low = high // 2
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if enough(middle) else (middle, high)
    return float(high if enough(high) else math.nan)


def to_markdown(frame: pd.DataFrame, difference: float, wanted: float) -> str:
    """Return the result of `power` as a Markdown table with its notes."""
    heads = ["Dataset", "Task", "Images", "Seeds", "SD by image", "SD by seed", "Detectable"]
    heads += ["Images needed", "Seeds needed"]
    lines = [heads, ["---", "---", *["---:"] * (len(heads) - 2)]]
    for row in frame.to_dict("records"):
        sds = [NOTHING if math.isnan(v) else f"{v:.3f}" for v in (row["image_sd"], row["seed_sd"])]
        numbers = [str(row[name]) for name in ("images", "seeds")]
        needed = [_count(row[name]) for name in ("images_needed", "seeds_needed")]
        if math.isnan(row["seed_sd"]):
            needed[1] = "unknown"
        lines.append([row["dataset"], row["task"], *numbers, *sds, f"{row['detectable']:.3f}", *needed])
    text = "\n".join("| " + " | ".join(line) + " |" for line in lines)
    text += (
        f"\n\nTo part two networks whose scores differ by {difference:g}, with a power of {wanted:.0%} at "
        f"p < {ALPHA} without correction for many pairs. Each row is the median pair. Images needed at the "
        "same seeds, seeds needed at the same images.\n"
    )
    if frame["seed_sd"].isna().any():
        text += (
            "With one seed the variance of seeds is unknown, and is left out: the numbers are too small.\n"
        )
    return text


def _count(value: float) -> str:
    return "none is enough" if math.isnan(value) else f"{value:,.0f}"
