"""Draws of images with replacement (Efron and Tibshirani, An Introduction to the Bootstrap, 1993, ch. 13).

If images have groups, such as patients, whole groups are drawn in place of images (cluster bootstrap; Davison
and Hinkley, Bootstrap Methods and their Application, 1997, section 3.8). Images of a group are alike, so
drawing single images would find too little spread.
"""

from __future__ import annotations

import numpy as np

from segbench.evaluation.statistics import Metadata


def draws(units: int, samples: int, seed: int) -> np.ndarray:
    """Return how often each image, or group, is in each resample, samples x units uint16.

    Equal arguments give equal draws.
    """
    rng = np.random.default_rng(seed)
    drawn = [np.bincount(rng.integers(0, units, units), minlength=units) for _ in range(samples)]
    return np.array(drawn, np.uint16).reshape(samples, units)


def units(metadata: Metadata) -> np.ndarray:
    """Return the number of the unit that each image is drawn with, from 0: its group, or the image alone."""
    if metadata.groups is None:
        return np.arange(len(metadata.image_ids))
    # an image without a group is known by its place
    labels = [place if group is None else group for place, group in enumerate(metadata.groups)]
    number = {label: n for n, label in enumerate(dict.fromkeys(labels))}
    return np.array([number[label] for label in labels], int)


def image_draws(metadata: Metadata, samples: int, seed: int) -> np.ndarray:
    """Return how often each image is in each resample, samples x images uint16.

    Groups are drawn as a whole. An image without a group is one of its own.
    """
    unit = units(metadata)
    return draws(unit.max(initial=-1) + 1, samples, seed)[:, unit]
