"""Read a volume from a folder with one DICOM series, a file for each slice."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from segbench.data.converters.volume import EXTRA, Volume, check_affine, check_size, kept
from segbench.data.junk import listed
from segbench.errors import SegbenchError
from segbench.importing import optional

_NEEDED = {
    "ImagePositionPatient": 3,
    "ImageOrientationPatient": 6,
    "PixelSpacing": 2,
    "Rows": 1,
    "Columns": 1,
}
"""Tags that say where a slice is, and the numbers in each."""
_DEFLATED = "1.2.840.10008.1.2.1.99"
UNEQUAL = 0.02
"""Largest relative deviation of the distance between two slices from the usual one."""
TURNED = 1e-3
"""Largest difference between the direction cosines of two slices."""


@dataclass
class _Slice:
    """What the header of a file says. Tags of `_NEEDED` that are absent are None."""

    series: str
    description: str
    frames: int
    samples: int
    thickness: float
    tags: dict[str, np.ndarray | None]

    @classmethod
    def of(cls, header: Any) -> _Slice:
        """Read the tags, which pydicom decodes only now. Raises many types of errors for damaged ones."""
        tags: dict[str, np.ndarray | None] = {}
        for name, length in _NEEDED.items():
            value = header.get(name)
            if value in (None, "", []):
                tags[name] = None
                continue
            numbers = np.array(value, float).reshape(length)
            if not np.isfinite(numbers).all():
                raise ValueError(f"{name} is {value}")
            tags[name] = numbers
        return cls(
            str(header.get("SeriesInstanceUID")),
            str(header.get("SeriesDescription", "")),
            int(header.get("NumberOfFrames") or 1),
            int(header.get("SamplesPerPixel") or 1),
            float(header.get("SpacingBetweenSlices") or header.get("SliceThickness") or 0),
            tags,
        )

    def __getitem__(self, name: str) -> np.ndarray:
        value = self.tags[name]
        assert value is not None
        return value


def read_dicom(folder: Path, max_voxels: int) -> Volume:
    """Read the series in a folder. RescaleSlope and RescaleIntercept are applied, as for Hounsfield units.

    Args:
        folder: its files without DICOM content are ignored, unless they end in `.dcm`.
        max_voxels: largest number of voxels.

    Raises:
        SegbenchError: there is no series or several, slices are missing, repeated or unequally spaced, or a
            file is damaged or not a single grey slice.
    """
    pydicom = optional("pydicom", EXTRA)
    files = _headers(folder, pydicom)
    _check_one_series(folder, files)
    first = files[min(files)]
    for path, header in files.items():
        _check_slice(path, header, first)
    rows, columns = int(first["Rows"][0]), int(first["Columns"][0])
    check_size((columns, rows, len(files)), max_voxels, folder)
    across, down = first["ImageOrientationPatient"].reshape(2, 3)
    positions = {path: one["ImagePositionPatient"] for path, one in files.items()}
    heights = {path: float(p @ np.cross(across, down)) for path, p in positions.items()}
    order = sorted(files, key=heights.__getitem__)
    _check_distances(folder, [heights[path] for path in order])
    slices = [_pixels(path, (rows, columns), pydicom) for path in order]
    data = np.stack([s.T for s in slices], axis=-1)
    affine = np.eye(4)
    spacing = first["PixelSpacing"]
    affine[:3, 0], affine[:3, 1] = across * spacing[1], down * spacing[0]
    if len(order) > 1:
        affine[:3, 2] = (positions[order[-1]] - positions[order[0]]) / (len(order) - 1)
    else:
        affine[:3, 2] = np.cross(across, down) * first.thickness
    affine[:3, 3] = positions[order[0]]
    affine = np.diag([-1.0, -1.0, 1.0, 1.0]) @ affine  # DICOM counts to the left and to the back
    return check_affine(Volume(kept(data), affine, folder))


def _headers(folder: Path, pydicom: Any) -> dict[Path, _Slice]:
    found = {}
    for path in listed(folder):
        if not path.is_file() or path.name.upper() == "DICOMDIR":
            continue
        try:
            meta = pydicom.filereader.read_file_meta_info(path)
            if str(meta.get("TransferSyntaxUID")) == _DEFLATED:  # of any size when inflated
                raise _damaged(path, "a deflated file")
            found[path] = _Slice.of(pydicom.dcmread(path, stop_before_pixels=True))
        except pydicom.errors.InvalidDicomError as error:
            if path.suffix.lower() in (".dcm", ".ima"):
                raise _damaged(path, error) from error
        except SegbenchError:
            raise
        except Exception as error:  # pydicom raises many types for damaged files
            raise _damaged(path, error) from error
    if not found:
        raise SegbenchError(
            "contains no DICOM files",
            where=folder,
            remedy="write a pattern that matches a folder with a series",
        )
    return found


def _damaged(path: Path, why: object) -> SegbenchError:
    return SegbenchError(
        f"is damaged, or cannot be read as DICOM ({str(why) or type(why).__name__})",
        where=path,
        remedy="replace the file, convert the series to NIfTI (dcm2niix), or exclude the case (`exclude`)",
    )


def _check_one_series(folder: Path, files: dict[Path, _Slice]) -> None:
    series = defaultdict(list)
    for header in files.values():
        series[header.series].append(header)
    if len(series) > 1:
        named = [f"'{s[0].description}' ({len(s)} files)" for s in series.values()]
        shown = ", ".join(named[:5]) + (f" and {len(named) - 5} more" if len(named) > 5 else "")
        raise SegbenchError(
            f"contains {len(series)} series: {shown}",
            where=folder,
            remedy="put each series into a folder of its own",
        )


def _check_slice(path: Path, header: _Slice, first: _Slice) -> None:
    if header.frames > 1:
        raise SegbenchError(
            f"holds {header.frames} frames in one file",
            where=path,
            remedy="convert the series to NIfTI, such as with dcm2niix",
        )
    if lacking := [name for name, value in header.tags.items() if value is None]:
        raise SegbenchError(
            f"has no {lacking[0]}, so its place is not known",
            where=path,
            remedy="remove the file, or exclude the case (`exclude`)",
        )
    if header.samples != 1:
        raise SegbenchError("is a colour image", where=path, remedy="remove the file from the series")
    for name in ("Rows", "Columns", "PixelSpacing", "ImageOrientationPatient"):
        if not np.allclose(header[name], first[name], rtol=0, atol=TURNED):
            raise SegbenchError(
                f"has {name} {header[name].tolist()}, another slice of the series has {first[name].tolist()}",
                where=path,
                remedy="remove slices that do not belong to the volume, such as localizers",
            )


def _check_distances(folder: Path, heights: list[float]) -> None:
    """Check that slices, at the given positions along their normal in mm, are equally spaced."""
    steps = np.diff(heights)
    if not len(steps):
        return
    usual = float(np.median(steps))
    if (steps < UNEQUAL * max(usual, 1e-3)).any() or usual <= 0:
        place = heights[int(np.argmin(steps))]
        raise SegbenchError(
            f"has several slices at one place ({place:g} mm along their normal), as in a series over time",
            where=folder,
            remedy="keep one slice for each place",
        )
    wrong = np.flatnonzero(np.abs(steps - usual) > UNEQUAL * usual)
    if not len(wrong):
        return
    k = int(wrong[0])
    gaps = np.rint(steps[wrong] / usual)
    if (np.abs(steps[wrong] - gaps * usual) <= UNEQUAL * usual).all():
        what = (
            f"lacks {int((gaps - 1).sum())} slices: {heights[k]:g} and {heights[k + 1]:g} mm are neighbours, "
            f"others are {usual:g} mm apart"
        )
    else:
        what = (
            f"has slices that are unequally spaced: {steps[k]:g} mm at {heights[k]:g} mm, else {usual:g} mm"
        )
    raise SegbenchError(
        what, where=folder, remedy="complete the series, resample it, or exclude the case (`exclude`)"
    )


def _pixels(path: Path, shape: tuple[int, int], pydicom: Any) -> np.ndarray:
    """Return the rescaled values of a slice, rows x columns."""
    try:
        dataset = pydicom.dcmread(path)
        values = dataset.pixel_array
        if values.shape != shape:
            raise ValueError(f"its pixels have the shape {values.shape}")
        slope, intercept = (
            float(dataset.get(name, default))
            for name, default in (("RescaleSlope", 1), ("RescaleIntercept", 0))
        )
        return kept(values, slope, intercept)
    except Exception as error:  # pydicom and its decoders raise many types
        raise _damaged(path, error) from error
