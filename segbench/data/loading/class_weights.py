"""Weights of classes from their shares of the training pixels."""

from __future__ import annotations

import numpy as np

from segbench.contract.view import View
from segbench.data.dataset import Split
from segbench.data.loading.targets import SemanticReader
from segbench.errors import SegbenchError


def class_weights(wanted: str | list[float], split: Split, view: View) -> list[float]:
    """Return the weight of each class of a semantic view.

    A class without pixels has the weight 1.

    Args:
        wanted: `Recipe.class_weights`: median_frequency, inverse_log, or a number for each class.
        split: the training images.
        view: the classes.

    Raises:
        SegbenchError: there are more or fewer numbers than classes, or all are 0.
    """
    if isinstance(wanted, str):
        pixels, shown = _counted(split, view)
        return (median_frequency if wanted == "median_frequency" else inverse_log)(pixels, shown)
    if len(wanted) != len(view.classes) or not any(wanted):
        names = ", ".join(c.name for c in view.classes)
        raise SegbenchError(
            f"has {len(wanted)} numbers"
            + (f" for {len(view.classes)} classes" if any(wanted) else ", all of them 0"),
            where="class_weights",
            remedy=f"give one for each of {names}, in this order",
        )
    return wanted


def median_frequency(pixels: np.ndarray, shown: np.ndarray) -> list[float]:
    """Compute the median of the classes' frequencies over that of each class (Eigen, Fergus 2015, 1411.4734).

    Args:
        pixels: number of pixels of each class.
        shown: number of labelled pixels of the images that show the class.
    """
    has = pixels > 0
    frequency = pixels[has] / shown[has]
    weights = np.ones(len(pixels))
    weights[has] = np.median(frequency) / frequency
    return weights.tolist()


def inverse_log(pixels: np.ndarray, _: np.ndarray) -> list[float]:
    """Compute 1 / ln(1.02 + share of the labelled pixels) (Paszke et al. 2016, ENet, 1606.02147)."""
    share = pixels / max(1, pixels.sum())
    return np.where(pixels > 0, 1 / np.log(1.02 + share), 1.0).tolist()


def _counted(split: Split, view: View) -> tuple[np.ndarray, np.ndarray]:
    reader, count = SemanticReader(split, view), len(view.classes)
    pixels, shown = np.zeros(count, np.int64), np.zeros(count, np.int64)
    for record in split.images:
        (layer,), _ = reader(record)
        own = np.bincount(layer.ravel(), minlength=count + 1)[1:]
        pixels += own
        shown += (own > 0) * own.sum()
    return pixels, shown
