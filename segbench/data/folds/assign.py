"""Assign groups of images to folds.

Iterative stratification (Sechidis et al., "On the stratification of multi-label data", ECML PKDD 2011) with
groups in place of images: the rarest class first, each of its groups to the fold that lacks this class most.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np


def assign(presence: np.ndarray, groups: Sequence[str], folds: int) -> np.ndarray:
    """Return the fold of each image, 0 to `folds` - 1, whatever the order of the images.

    Args:
        presence: N x C bool, whether a class occurs in an image.
        groups: group of each image. A group is in one fold.
        folds: number of folds, at most the number of groups.
    """
    names, member = np.unique(np.asarray(groups, str), return_inverse=True)
    if len(names) < folds:
        raise ValueError(f"{len(names)} groups for {folds} folds")
    # images with each class by group; the last column counts all images of the group
    counts = np.zeros((len(names), presence.shape[1] + 1), np.int64)
    np.add.at(counts, member, np.column_stack([presence, np.ones(len(presence), bool)]).astype(np.int64))
    wanted = np.repeat(counts.sum(0, keepdims=True) / folds, folds, axis=0)
    # ties in a fixed random order: neighbouring names are alike
    ties = np.argsort([hashlib.sha256(name.encode()).hexdigest() for name in names])
    fold_of = np.full(len(names), -1)
    while (left := fold_of < 0).any():
        having = (counts[left] > 0).sum(0)
        rarest = int(np.where(having > 0, having, len(names) + 1).argmin())
        chosen = [g for g in ties if left[g] and counts[g, rarest]]
        for group in sorted(chosen, key=lambda g: -counts[g, rarest]):
            fold = max(range(folds), key=lambda f: (wanted[f, rarest], wanted[f, -1], -f))
            fold_of[group] = fold
            wanted[fold] -= counts[group]
    return fold_of[member]
