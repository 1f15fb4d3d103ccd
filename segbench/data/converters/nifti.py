"""Read volumes from NIfTI files (.nii, .nii.gz)."""

from __future__ import annotations

import gzip
import zlib
from pathlib import Path
from typing import Any

import numpy as np

from segbench.data.converters.volume import EXTRA, Volume, check_affine, check_size, kept
from segbench.errors import SegbenchError
from segbench.importing import optional

SUFFIXES = (".nii", ".nii.gz")
_HEADER = 540
"""Bytes of the longer one of the two headers, NIfTI-2's."""
_MAX_OFFSET = 64 * 2**20
"""Largest size of the extensions between header and voxels, which nibabel reads into memory."""
_MM = {1: 1000.0, 3: 0.001}
"""Millimetres by the header's code of the unit: metres and micrometres; any other code is millimetres."""


def read_nifti(path: Path, max_voxels: int) -> Volume:
    """Read a volume. The values are scaled as the header says.

    Args:
        path: a file of NIfTI-1 or NIfTI-2.
        max_voxels: largest number of voxels.

    Raises:
        SegbenchError: the file is damaged or too large, or is not one volume of numbers.
    """
    nibabel = optional("nibabel", EXTRA)
    damaged = (
        OSError,
        EOFError,
        zlib.error,
        ValueError,
        TypeError,
        OverflowError,
        nibabel.filebasedimages.ImageFileError,
        nibabel.spatialimages.HeaderDataError,
        nibabel.wrapstruct.WrapStructError,
    )
    try:
        _check_offset(path, nibabel)
        image = nibabel.load(path)
        shape = tuple(int(n) for n in image.shape)
        _check_shape(shape, path)
        check_size(shape, max_voxels, path)
        if image.get_data_dtype().kind not in "iuf":
            raise SegbenchError(
                f"has voxels of the type {image.get_data_dtype()}, which are not numbers",
                where=path,
                remedy="convert it to a file of one number for each voxel",
            )
        stored = np.asarray(image.dataobj.get_unscaled()).reshape(shape[:3])
        data = kept(stored, image.dataobj.slope, image.dataobj.inter)
        affine = np.array(image.affine, float)
        affine[:3] *= _MM.get(int(image.header["xyzt_units"]) & 7, 1.0)
    except damaged as error:
        raise SegbenchError(
            f"is damaged, or is not a NIfTI file ({str(error) or type(error).__name__})",
            where=path,
            remedy="replace the file, or exclude the case (`exclude`)",
        ) from error
    return check_affine(Volume(data, affine, path))


def _check_shape(shape: tuple[int, ...], path: Path) -> None:
    if len(shape) < 3 or any(n != 1 for n in shape[3:]):
        what = "x".join(map(str, shape))
        kind = "a series of volumes" if len(shape) > 3 else "not a volume"
        raise SegbenchError(
            f"has {len(shape)} dimensions ({what}), so it is {kind}",
            where=path,
            remedy="write a pattern that matches a file of one volume",
        )


def _check_offset(path: Path, nibabel: Any) -> None:
    """Check where the voxels begin, before nibabel reads or skips all bytes up to there."""
    with gzip.open(path) if path.name.endswith(".gz") else path.open("rb") as file:
        start = file.read(_HEADER)
    for kind in (nibabel.Nifti1Header, nibabel.Nifti2Header):
        size = kind.template_dtype.itemsize
        if len(start) >= size and kind.may_contain_header(start[: max(size, 348)]):
            offset = float(kind(start[:size], check=False)["vox_offset"])
            if not 0 <= offset <= _MAX_OFFSET:
                raise ValueError(f"its voxels begin at byte {offset:g}")
            return
    raise ValueError("it has no header of NIfTI")
