"""Distances between the surfaces of two masks: HD95 and the normalised surface Dice (NSD).

The surface of a mask are its voxels with a face towards a voxel outside of the mask, or towards the outside
of the volume. Distances are those between the centres of voxels, in mm. Values are equal to MONAI's.

Nikolov et al., JMIR 2021 (NSD). Maier-Hein, Reinke et al., Metrics Reloaded, Nature Methods 2024.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

PERCENTILE = 95


def surface(mask: np.ndarray, spacing: Sequence[float]) -> np.ndarray:
    """Return the positions in mm of the surface voxels of a mask, N x 3.

    Args:
        mask: D x H x W bool.
        spacing: distance between slices, rows and columns in mm.
    """
    from scipy import ndimage  # slow to import, and few datasets need it

    edge = mask & ~ndimage.binary_erosion(mask)
    return np.argwhere(edge) * np.asarray(spacing, float)


def distances(a: np.ndarray, b: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the distance of each point of `a` to the nearest of `b`, and the reverse.

    Args:
        a, b: positions as from `surface`, at least one each.
    """
    from scipy.spatial import KDTree

    return KDTree(b).query(a)[0], KDTree(a).query(b)[0]


def hd95(there: np.ndarray, back: np.ndarray) -> float:
    """Return the larger one of the 95th percentiles of both lists of `distances`, in mm."""
    return float(max(np.percentile(there, PERCENTILE), np.percentile(back, PERCENTILE)))


def surface_dice(there: np.ndarray, back: np.ndarray, tolerance: float) -> float:
    """Return the share of surface voxels of both masks within `tolerance` (mm) of the other surface."""
    near = np.count_nonzero(there <= tolerance) + np.count_nonzero(back <= tolerance)
    return near / (len(there) + len(back))


def diagonal(shape: Sequence[int], spacing: Sequence[float]) -> float:
    """Return the largest distance between two voxels of a volume, in mm."""
    return math.hypot(*((n - 1) * s for n, s in zip(shape, spacing, strict=True)))
