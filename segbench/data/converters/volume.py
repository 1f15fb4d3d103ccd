"""A volume in memory: its voxels and where they are in the patient."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from segbench.errors import SegbenchError
from segbench.importing import optional

log = logging.getLogger(__name__)
EXTRA = "volumes"
SAME_PLACE = 0.1
"""Grids are the same if their corners differ by less than this part of the smallest voxel edge."""
SHEAR = 0.02
"""Largest cosine between two axes of a grid that count as perpendicular."""


@dataclass
class Volume:
    """X x Y x Z voxels.

    Attributes:
        data: int16, uint16 or float32.
        affine: 4 x 4, from indices to mm in the patient (to the right, to the front, up: RAS+).
        where: file or folder, which messages name.
    """

    data: np.ndarray
    affine: np.ndarray
    where: Path

    @property
    def spacing(self) -> np.ndarray:
        """Distance between voxels along the three axes in mm."""
        return np.sqrt((self.affine[:3, :3] ** 2).sum(0))


def check_size(shape: tuple[int, ...], limit: int, where: Path) -> None:
    """Raise SegbenchError if a volume has more than `limit` voxels: a small file may claim to be large."""
    count = int(np.prod([int(n) for n in shape], dtype=object))
    if count > limit:
        raise SegbenchError(
            f"has {_times(shape)} voxels; up to {limit} are allowed",
            where=where,
            remedy=f"if you trust it, set `max_voxels: {count}` in the dataset's options",
        )
    if count == 0:
        raise SegbenchError("has no voxels", where=where, remedy="replace the file or exclude the case")


def check_affine(volume: Volume) -> Volume:
    """Return the volume. SegbenchError if distances cannot be computed from its affine."""
    axes, spacing = volume.affine[:3, :3], volume.spacing
    if not np.isfinite(volume.affine).all() or (spacing <= 0).any():
        raise SegbenchError(
            f"has a spacing of {_listed(spacing)} mm, so sizes are not known",
            where=volume.where,
            remedy="write the spacing into its header, or exclude the case",
        )
    cosines = np.abs((axes / spacing).T @ (axes / spacing) - np.eye(3)).max()
    if cosines > SHEAR:
        raise SegbenchError(
            "has axes that are not perpendicular, as with a tilted gantry",
            where=volume.where,
            remedy="resample it to a rectangular grid (dcm2niix does so for tilted gantries)",
        )
    return volume


def kept(values: np.ndarray, slope: float = 1.0, intercept: float = 0.0) -> np.ndarray:
    """Return `values * slope + intercept`: whole numbers as int16 or uint16 if they fit, others as float32.

    Floats are float32 even if they are whole, so that the cases of a dataset have one type.
    """
    if values.dtype.kind in "biu" and float(slope).is_integer() and float(intercept).is_integer():
        low, high = (int(v) * int(slope) + int(intercept) for v in (values.min(), values.max()))
        low, high = min(low, high), max(low, high)
        for kind in (np.int16, np.uint16):
            if np.iinfo(kind).min <= low and high <= np.iinfo(kind).max:
                if (slope, intercept) == (1, 0):
                    return values.astype(kind)
                return (values.astype(np.int64) * int(slope) + int(intercept)).astype(kind)
    if (slope, intercept) == (1, 0):
        return values.astype(np.float32)
    return (values * np.float64(slope) + intercept).astype(np.float32)


def finite(volume: Volume) -> Volume:
    """Return the volume with its lowest finite value in place of voxels that are not finite.

    Maps often have NaN outside of the patient. SegbenchError if no voxel is finite.
    """
    if volume.data.dtype.kind != "f":
        return volume
    wrong = ~np.isfinite(volume.data)
    number = np.count_nonzero(wrong)
    if number == wrong.size:
        raise SegbenchError(
            "has no finite value",
            where=volume.where,
            remedy="replace the file, or exclude the case (`exclude`)",
        )
    if number:
        lowest = volume.data[~wrong].min()
        log.warning("%s: %d voxels that are not finite become %g", volume.where, number, lowest)
        return Volume(np.where(wrong, lowest, volume.data), volume.affine, volume.where)
    return volume


def canonical(volume: Volume) -> Volume:
    """Turn and flip a volume so that its axes lead to the right, to the front and up (RAS+).

    Voxels are not resampled. SegbenchError if the affine does not tell the axes.
    """
    orientations = optional("nibabel.orientations", EXTRA)
    turns = orientations.io_orientation(volume.affine)
    if np.isnan(turns).any():
        raise SegbenchError(
            "has an affine that does not say where its axes lead",
            where=volume.where,
            remedy="write the affine again, or exclude the case",
        )
    data = orientations.apply_orientation(volume.data, turns)
    return Volume(data, volume.affine @ orientations.inv_ornt_aff(turns, volume.data.shape), volume.where)


AXES = {"sagittal": 0, "coronal": 1, "axial": 2}
"""Axis of a RAS+ volume along which the slices are."""


def sliced(volume: Volume, axis: str) -> np.ndarray:
    """Return the slices of a RAS+ volume along one of `AXES`, as images: N x H x W.

    Images look as in radiology: front or head above, the right side of the patient on the left.
    """
    along = AXES[axis]
    # rows from front or head on, then columns from the patient's right or front on
    data = np.flip(volume.data, tuple(a for a in range(3) if a != along))
    return data.transpose(slice_axes(axis))


def slice_axes(axis: str) -> tuple[int, int, int]:
    """Return the axes of a RAS+ volume that are the slices, rows and columns of `sliced`."""
    rows, columns = (a for a in (2, 1, 0) if a != AXES[axis])
    return AXES[axis], rows, columns


def difference(volume: Volume, other: Volume) -> str | None:
    """Return how the grid of a volume differs from that of `other`, in words; None if both are the same."""
    if volume.data.shape != other.data.shape:
        return f"has {_times(volume.data.shape)} voxels, {other.where.name} has {_times(other.data.shape)}"
    corners = np.array(np.meshgrid(*[[0, n - 1] for n in other.data.shape], [1])).reshape(4, -1)
    apart = np.sqrt((((volume.affine - other.affine) @ corners)[:3] ** 2).sum(0)).max()
    if apart > SAME_PLACE * other.spacing.min():
        return f"lies elsewhere than {other.where.name}: their corners are up to {apart:.3g} mm apart"
    return None


def resampled(volume: Volume, onto: Volume) -> Volume:
    """Resample a volume to the grid of `onto`, linearly. Voxels outside of it get its lowest value."""
    from scipy import ndimage

    matrix = np.linalg.inv(volume.affine) @ onto.affine
    data = volume.data.astype(np.float32)
    lowest = float(data.min())
    new = ndimage.affine_transform(
        data, matrix[:3, :3], matrix[:3, 3], onto.data.shape, order=1, mode="constant", cval=lowest
    )
    return Volume(new, onto.affine, volume.where)


def _times(shape: tuple[int, ...]) -> str:
    return "x".join(map(str, shape))


def _listed(values: np.ndarray) -> str:
    return ", ".join(f"{v:g}" for v in values)
